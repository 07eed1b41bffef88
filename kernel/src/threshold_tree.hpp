// A feature's thresholds as a search tree of nodes of 16: a value's rank takes one comparison of 16 numbers a level, where a binary
// search takes four steps that wait for each other.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mlrf {

constexpr std::size_t kNodeThresholds = 16;
constexpr std::size_t kMostThresholdLevels = 4;  // 65,535 thresholds

// Levels from the root down: a node's numbers are the greatest of each of its children; the last level holds the thresholds, and at
// least one infinity behind them, which is below no value. Rows of numbers are filled up with infinity. They are float where
// Forest::ranks_in_float32, else double, and 64-byte aligned.
struct ThresholdTree {
    std::uint32_t n_levels;  // 0 where the thresholds are searched in the file
    const void* levels[kMostThresholdLevels];
};

}  // namespace mlrf
