#include "bilevel/core/device.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

#include "bilevel/core/error.hpp"
#include "device/backend.hpp"
#include "tests/model/scoped_environment.hpp"

namespace bilevel {
namespace {

class DeviceNames : public ::testing::Test {
 protected:
  testing_support::ScopedEnvironment isa_{"BILEVEL_CPU_ISA", ""};  // empty: the best there is
};

TEST_F(DeviceNames, CpuNames) {
  for (const char* name : {"cpu:1", "cpu:8", "cpu:1024"}) {
    const Device d = Device::open(name);
    EXPECT_EQ(d.name(), name);
    EXPECT_EQ(d.kind(), DeviceKind::cpu);
    EXPECT_EQ(std::to_string(d.threads()), std::string(name).substr(4));
    EXPECT_FALSE(d.guarded());
  }
  const Device cpu = Device::open("cpu"), automatic = Device::open("auto");
  EXPECT_GE(cpu.threads(), 1);
  EXPECT_EQ(cpu.name(), "cpu:" + std::to_string(cpu.threads()));
  if (automatic.kind() == DeviceKind::cpu) {
    EXPECT_EQ(automatic.name(), cpu.name());
  } else {
    EXPECT_EQ(automatic.name(), "cuda:0");
  }
  const Device guarded = Device::open("cpu-guarded:2");
  EXPECT_TRUE(guarded.guarded());
  EXPECT_EQ(guarded.threads(), 2);
  EXPECT_EQ(guarded.name(), "cpu-guarded:2");
  EXPECT_TRUE(Device::open("cpu-guarded").guarded());
  EXPECT_GT(Device::open("cpu").memory(), std::size_t{1} << 20);
}

TEST_F(DeviceNames, UnknownNamesAndThreadNumbersAreRefused) {
  for (const char* name : {"",        "gpu",           "CPU",     "cpu ",
                           " cpu",    "cpu-guard",     "cpu:",    "cpu:0",
                           "cpu:-1",  "cpu:1025",      "cpu:two", "cpu:2x",
                           "cpu:2 ",  "cpu: 2",        "cpu:+2",  "cpu:99999999999999999999",
                           "cpu:1:2", "cpu-guarded:0", "auto:0",  "auto:x"}) {
    try {
      Device::open(name);
      ADD_FAILURE() << "'" << name << "' was accepted";
    } catch (const ConfigError& e) {
      EXPECT_NE(std::string(e.what()).find("'" + std::string(name) + "'"), std::string::npos) << e.what();
    }
  }
}

TEST_F(DeviceNames, CudaWithoutAGpuIsADeviceError) {
  for (const char* name : {"cuda", "cuda:1"}) {
    try {
      const Device d = Device::open(name);
      EXPECT_EQ(d.kind(), DeviceKind::cuda);
      EXPECT_EQ(d.name().substr(0, 5), "cuda:");
    } catch (const DeviceError& e) {
      EXPECT_NE(std::string(e.what()).find(name), std::string::npos) << e.what();
    }
  }
}

TEST_F(DeviceNames, InstructionSetFromTheEnvironment) {
  setenv("BILEVEL_CPU_ISA", "sse9", 1);
  EXPECT_THROW(Device::open("cpu:1"), ConfigError);
  setenv("BILEVEL_CPU_ISA", "", 1);
  const std::string best = Device::open("cpu:1").instruction_set();
  EXPECT_TRUE(best == "baseline" || best == "avx2" || best == "avx512") << best;
  for (const char* isa : {"baseline", "avx2", "avx512"}) {
    setenv("BILEVEL_CPU_ISA", isa, 1);
    try {
      EXPECT_EQ(Device::open("cpu:1").instruction_set(), isa);
    } catch (const DeviceError& e) {
      EXPECT_NE(std::string(e.what()).find(isa), std::string::npos);
      if (isa == std::string("baseline")) {
        EXPECT_NE(std::string(e.what()).find("this build has"), std::string::npos) << e.what();
      }
      EXPECT_NE(best, isa) << "the best instruction set is refused when it is asked for";
    }
  }
}

TEST_F(DeviceNames, OverridesAreOnOrOff) {
  const char* name = "BILEVEL_CPU_OVERRIDES";
  const testing_support::ScopedEnvironment restore(name, "on");
  const Device tuned = Device::open("cpu:1");
  setenv(name, "off", 1);
  const Device generic = Device::open("cpu:1");
  EXPECT_NE(tuned.impl().table_double, generic.impl().table_double);
  EXPECT_NE(tuned.impl().table_double->analysis[0].gradient,
            generic.impl().table_double->analysis[0].gradient);
  EXPECT_EQ(tuned.impl().table_double->dot, generic.impl().table_double->dot);
  for (const char* value : {"yes", "ON", "0"}) {
    setenv(name, value, 1);
    EXPECT_THROW(Device::open("cpu:1"), ConfigError) << value;
  }
}

TEST_F(DeviceNames, CopiesShareTheDevice) {
  const Device a = Device::open("cpu:2"), b = a;
  EXPECT_EQ(&a.impl(), &b.impl());
}

TEST(Errors, HaveOneBaseAndKeepTheirText) {
  const IoError io("a/b.png", "it is not there");
  EXPECT_EQ(io.path(), "a/b.png");
  EXPECT_STREQ(io.what(), "a/b.png: it is not there");
  EXPECT_THROW(throw ShapeError("x"), Error);
  EXPECT_THROW(throw ConfigError("x"), Error);
  EXPECT_THROW(throw DeviceError("x"), Error);
  EXPECT_THROW(throw IoError("x", "y"), Error);
}

}  // namespace
}  // namespace bilevel
