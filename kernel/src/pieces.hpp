// Work on many rows in pieces, on several threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <thread>
#include <vector>

namespace mlrf {

// Pieces of work per thread: if another process takes a thread's core away, the other threads take over its pieces.
inline constexpr std::size_t kPiecesPerThread = 16;

// Run work(first, end) over [0, n) in pieces of whole blocks, on as many threads as have `least` rows each; rethrows the first
// exception.
template <typename Work>
void run_pieces(std::size_t n, std::size_t block, std::size_t least, unsigned threads, const Work& work) {
    const std::size_t n_blocks = (n + block - 1) / block;
    std::size_t n_threads = std::min({std::size_t{threads}, n / least, n_blocks});
    // More threads than cores take turns: a request of a million would start hundreds. How many cores there are, the C library
    // reads from a file each time: few rows must not pay for it.
    if (n_threads > 1) n_threads = std::min(n_threads, std::size_t{std::max(1u, std::thread::hardware_concurrency())});
    if (n_threads <= 1) {
        work(std::size_t{0}, n);
        return;
    }
    const std::size_t piece = std::max<std::size_t>(1, n_blocks / (n_threads * kPiecesPerThread)) * block;
    std::atomic<std::size_t> next{0};
    std::vector<std::exception_ptr> failures(n_threads);
    const auto run = [&](std::size_t thread) {
        try {
            for (std::size_t first = next.fetch_add(piece); first < n; first = next.fetch_add(piece))
                work(first, std::min(n, first + piece));
        } catch (...) {
            failures[thread] = std::current_exception();
        }
    };
    std::vector<std::thread> workers;
    workers.reserve(n_threads - 1);
    try {
        for (std::size_t thread = 1; thread < n_threads; ++thread) workers.emplace_back(run, thread);
    } catch (const std::exception&) {
            // No further thread or memory is available: the running threads share the pieces.
    }
    run(0);
    for (std::thread& worker : workers) worker.join();
    for (const std::exception_ptr& failure : failures)
        if (failure) std::rethrow_exception(failure);
}

}  // namespace mlrf
