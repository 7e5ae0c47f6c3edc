#include "apps/common/exit_codes.hpp"

#include <algorithm>
#include <csignal>
#include <new>
#include <ostream>

#include "bilevel/core/error.hpp"

namespace bilevel_app {

std::string sentence(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 32 || c == 127; }, ' ');
  while (!text.empty() && text.back() == ' ') text.pop_back();
  if (!text.empty() && text.back() != '.') text += '.';
  return text;
}

int guarded(const std::string& program, std::ostream& out, std::ostream& err,
            const std::function<int()>& body) {
#ifdef SIGXFSZ
  std::signal(SIGXFSZ,
              SIG_IGN);  // a file size limit becomes a failed write instead of the end of the process
#endif
  const auto fail = [&](const std::string& what, int code) {
    err << program << ": " << sentence(what) << '\n' << std::flush;
    return code;
  };
  try {
    const int code = body();
    out.flush();
    if (!out) return fail("the result cannot be written to the standard output.", exit_data);
    return code;
  } catch (const bilevel::ConfigError& error) {
    return fail(error.what(), exit_usage);
  } catch (const bilevel::IoError& error) {
    return fail(error.what(), exit_data);
  } catch (const bilevel::ShapeError& error) {
    return fail(error.what(), exit_data);
  } catch (const bilevel::DeviceError& error) {
    return fail(error.what(), exit_device);
  } catch (const std::bad_alloc&) {
    return fail("memory is exhausted; use fewer or smaller images.", exit_device);
  } catch (const std::exception& error) {
    return fail(error.what(), exit_numerical);
  }
}

}  // namespace bilevel_app
