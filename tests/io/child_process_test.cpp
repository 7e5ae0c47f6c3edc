#include "io/child_process.hpp"

#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <stdexcept>
#include <vector>

#include "bilevel/core/error.hpp"
#include "io_test_support.hpp"

namespace {

using bilevel::io_detail::Inlet;
using bilevel::io_detail::Outlet;
using bilevel::io_detail::read_in_child;

std::string refusal(const std::function<void(Outlet&)>& produce) {
  try {
    read_in_child("FILE", 1000, produce, [](Inlet& in) { in.receive_value<int>(); });
  } catch (const bilevel::IoError& error) {
    EXPECT_EQ(error.path(), "FILE");
    return error.what();
  }
  return "accepted";
}

bool has_children() { return ::waitpid(-1, nullptr, WNOHANG) >= 0 || errno != ECHILD; }

TEST(ChildProcess, HandsOverEverythingInOrder) {
  std::vector<double> sent(300000);
  for (std::size_t k = 0; k < sent.size(); ++k) sent[k] = static_cast<double>(k) / 7;
  std::vector<double> received(sent.size());
  read_in_child(
      "FILE", 1000,
      [&](Outlet& out) {
        out.send_value(static_cast<int>(sent.size()));
        out.send(sent.data(), 0);
        out.send(sent.data(), sent.size() * sizeof(double));
      },
      [&](Inlet& in) {
        EXPECT_EQ(in.receive_value<int>(), 300000);
        in.receive(received.data(), 12);  // pieces of another size
        in.receive(reinterpret_cast<char*>(received.data()) + 12, received.size() * sizeof(double) - 12);
      });
  EXPECT_EQ(received, sent);
  EXPECT_FALSE(has_children());
}

TEST(ChildProcess, EveryEndOfTheChildIsAnIoError) {
  EXPECT_EQ(refusal([](Outlet&) { throw bilevel::IoError("FILE", "this is the reason"); }),
            "FILE: this is the reason");
  EXPECT_EQ(refusal([](Outlet& out) {
              out.send("ab", 2);  // half a value
              throw bilevel::IoError("OTHER", "is the reason");
            }),
            "FILE: OTHER: is the reason");
  EXPECT_NE(refusal([](Outlet&) { throw std::runtime_error("weird\nthing"); }).find("weird?thing"),
            std::string::npos);
  EXPECT_NE(refusal([](Outlet&) { std::raise(SIGSEGV); }).find("failed on it (signal 11)"),
            std::string::npos);
  EXPECT_NE(refusal([](Outlet&) { std::abort(); }).find("failed on it (signal 6)"), std::string::npos);
  EXPECT_NE(refusal([](Outlet&) { std::exit(1); }).find("failed on it"), std::string::npos);
  EXPECT_NE(refusal([](Outlet&) {}).find("ended too early"), std::string::npos);
  EXPECT_FALSE(has_children());
}

TEST(ChildProcess, WhatIsLeftOverIsAnError) {
  EXPECT_THROW(read_in_child(
                   "FILE", 1000, [](Outlet& out) { out.send_value(1); }, [](Inlet&) {}),
               bilevel::IoError);
  EXPECT_THROW(read_in_child(
                   "FILE", 1000,
                   [](Outlet& out) {
                     while (true) out.send_value(1);
                   },
                   [](Inlet&) { throw bilevel::ShapeError("stop"); }),
               bilevel::ShapeError)
      << "a child that still writes is ended";
  EXPECT_FALSE(has_children());
}

TEST(ChildProcess, LoopsAndHugeAllocationsEnd) {
  EXPECT_NE(refusal([](Outlet&) {
              volatile int k = 0;
              while (k == 0) continue;
            }).find("more than 3 s of processor time"),
            std::string::npos);
#if !defined(__SANITIZE_ADDRESS__)  // which ends the process instead
  EXPECT_NE(refusal([](Outlet&) { std::vector<char> much(std::size_t{1} << 30); }).find("more memory"),
            std::string::npos);
#endif
}

TEST(ChildProcess, OutputIsDropped) {
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  refusal([](Outlet&) {
    std::printf("out\n");
    std::fprintf(stderr, "err\n");
    std::fflush(stdout);
  });
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "");
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

}  // namespace
