// Blas over the products of a device library.

#include "device/cuda_module.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

template <class T>
class LibraryBlas final : public Blas<T> {
 public:
  explicit LibraryBlas(Context& context)
      : Blas<T>(context),
        impl_(context.impl()),
        library_(cuda_plans<T>().blas(impl_.device.impl(), impl_.stream.queue)),
        work_(impl_.allocate(library_->work_bytes())) {
    try {
      library_->use_work_area(work_);
    } catch (...) {
      close();
      throw;
    }
  }
  ~LibraryBlas() override { close(); }

 private:
  /// The library goes before its work area.
  void close() noexcept {
    const std::size_t bytes = library_->work_bytes();
    library_.reset();
    impl_.release(work_, bytes);
  }
  void run_gemm(Context&, const Gemm<T>& g) const override { library_->gemm(g); }
  void run_gemv(Context&, const Gemv<T>& g) const override { library_->gemv(g); }

  Context::Impl& impl_;
  std::unique_ptr<BlasLibrary<T>> library_;
  std::byte* work_;
};

}  // namespace

template <class T>
std::unique_ptr<Blas<T>> make_library_blas(Context& context) {
  return std::make_unique<LibraryBlas<T>>(context);
}
template std::unique_ptr<Blas<float>> make_library_blas(Context&);
template std::unique_ptr<Blas<double>> make_library_blas(Context&);

}  // namespace v0
}  // namespace bilevel
