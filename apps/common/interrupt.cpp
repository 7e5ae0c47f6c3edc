#include "apps/common/interrupt.hpp"

#include <csignal>

namespace bilevel_app {
namespace {

volatile std::sig_atomic_t flag = 0;

void on_signal(int number) {
  if (flag != 0) {
    std::signal(number, SIG_DFL);
    std::raise(number);
  }
  flag = 1;
}

void (*previous_interrupt)(int) = SIG_DFL;
void (*previous_terminate)(int) = SIG_DFL;

}  // namespace

InterruptGuard::InterruptGuard() {
  flag = 0;
  previous_interrupt = std::signal(SIGINT, on_signal);
  previous_terminate = std::signal(SIGTERM, on_signal);
}

InterruptGuard::~InterruptGuard() {
  std::signal(SIGINT, previous_interrupt);
  std::signal(SIGTERM, previous_terminate);
}

bool interrupted() { return flag != 0; }

}  // namespace bilevel_app
