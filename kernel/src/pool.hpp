// Scratch memory that is reused between calls: allocating it costs more than a batch of 100 rows does.
#pragma once

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace mlrf {

template <typename Scratch>
class Pool {
public:
    // A scratch for one thread; returns to the pool when it goes out of scope.
    class Loan {
    public:
        Loan(Pool& pool, std::unique_ptr<Scratch> scratch) : pool_(pool), scratch_(std::move(scratch)) {}
        ~Loan() {
            const std::lock_guard<std::mutex> lock(pool_.mutex_);
            // Capacity was reserved when the scratch was made, so this does not throw.
            pool_.idle_.push_back(std::move(scratch_));
        }
        Loan(const Loan&) = delete;
        Loan& operator=(const Loan&) = delete;

        Scratch& operator*() const { return *scratch_; }
        Scratch* operator->() const { return scratch_.get(); }

    private:
        Pool& pool_;
        std::unique_ptr<Scratch> scratch_;
    };

    template <typename Make>
    Loan take(const Make& make) {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            if (!idle_.empty()) {
                std::unique_ptr<Scratch> scratch = std::move(idle_.back());
                idle_.pop_back();
                return Loan(*this, std::move(scratch));
            }
            idle_.reserve(++n_made_);
        }
        return Loan(*this, make());
    }

private:
    std::mutex mutex_;
    std::vector<std::unique_ptr<Scratch>> idle_;
    std::size_t n_made_ = 0;
};

}  // namespace mlrf
