// Zeroed memory aligned for vector loads.
#pragma once

#include <cstddef>
#include <cstring>
#include <limits>
#include <new>

namespace mlrf {

template <typename Number>
class Arena {
public:
    // Throws std::bad_alloc, also if count overflows.
    explicit Arena(std::size_t count) {
        if (count > std::numeric_limits<std::size_t>::max() / sizeof(Number) - 64) throw std::bad_alloc();
        const std::size_t size_bytes = count * sizeof(Number) + 64;
        numbers_ = static_cast<Number*>(::operator new(size_bytes, std::align_val_t{64}));
        std::memset(static_cast<void*>(numbers_), 0, size_bytes);
    }
    ~Arena() { ::operator delete(numbers_, std::align_val_t{64}); }
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;

    Number* data() const { return numbers_; }

private:
    Number* numbers_;
};

}  // namespace mlrf
