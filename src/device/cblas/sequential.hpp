#pragma once

namespace bilevel {
inline namespace v0 {

/// Between these OpenBLAS starts no threads of its own, which would change bits and exceed the threads of the
/// device; the number that the process had set comes back with the last end. Other CBLAS libraries are taken
/// to be sequential. Throws DeviceError where OpenBLAS cannot have its work area: it would ask for it again
/// and again without end.
void begin_sequential();
void end_sequential();

}  // namespace v0
}  // namespace bilevel
