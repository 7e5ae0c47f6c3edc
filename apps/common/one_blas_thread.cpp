// OpenBLAS starts a thread per processor when it is loaded, and each waits for 128 MiB for as long as it
// takes: where memory is short, the program would never end. This library uses one thread of it at most. The
// function takes the place of OpenBLAS's own (0.3.x), which reads OPENBLAS_NUM_THREADS; other libraries never
// call it.

extern "C" [[gnu::visibility("default")]] int openblas_num_threads_env();
int openblas_num_threads_env() { return 1; }
