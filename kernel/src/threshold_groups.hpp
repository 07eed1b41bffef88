// A feature's thresholds in groups of 16: a value is compared with the last of each group, then with one group.
#pragma once

#include <cstddef>
#include <limits>

namespace mlrf {

constexpr std::size_t kGroupThresholds = 16;
constexpr std::size_t kMostGroupedThresholds = kGroupThresholds * kGroupThresholds;

// How many numbers group_thresholds writes. The last group is never full: a value above all full groups is compared with it.
constexpr std::size_t grouped_size(std::size_t n_thresholds) {
    return kGroupThresholds + (n_thresholds / kGroupThresholds + 1) * kGroupThresholds;
}

// Write the last threshold of each full group, then the thresholds, both filled up with infinity, which is below no value.
inline void group_thresholds(const double* thresholds, std::size_t n, double* grouped) {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    double* const groups = grouped + kGroupThresholds;
    const std::size_t n_full = n / kGroupThresholds;
    for (std::size_t g = 0; g < kGroupThresholds; ++g)
        grouped[g] = g < n_full ? thresholds[g * kGroupThresholds + kGroupThresholds - 1] : kInfinity;
    for (std::size_t i = 0; i < (n_full + 1) * kGroupThresholds; ++i) groups[i] = i < n ? thresholds[i] : kInfinity;
}

}  // namespace mlrf
