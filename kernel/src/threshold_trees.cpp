#include "threshold_trees.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace mlrf {
namespace {

// Memory that the trees of a forest may take, which every process has for itself; the thresholds of the file are shared.
constexpr std::size_t kMostBytes = std::size_t{8} << 20;

std::size_t n_levels(std::size_t n_thresholds) {
    // Few thresholds have two levels as well: most features of a forest then take the same branch.
    std::size_t levels = 2;
    for (std::size_t most = kNodeThresholds * kNodeThresholds; most <= n_thresholds; most *= kNodeThresholds) ++levels;
    return levels <= kMostThresholdLevels ? levels : 0;
}

// Nodes of each level, the last level first.
std::vector<std::size_t> level_sizes(std::size_t n_thresholds) {
    std::vector<std::size_t> sizes;
    for (std::size_t n = n_thresholds / kNodeThresholds + 1; sizes.size() < n_levels(n_thresholds);
         n = (n + kNodeThresholds - 1) / kNodeThresholds)
        sizes.push_back(n);
    return sizes;
}

std::size_t n_numbers(std::size_t n_thresholds) {
    std::size_t n = 0;
    for (const std::size_t size : level_sizes(n_thresholds)) n += size * kNodeThresholds;
    return n;
}

// Whether float32 holds the number as it is. A finite one beyond its range must not be converted.
bool fits_float32(double threshold) {
    if (std::isinf(threshold)) return true;
    return std::fabs(threshold) <= std::numeric_limits<float>::max() && static_cast<double>(static_cast<float>(threshold)) == threshold;
}

}  // namespace

ThresholdTrees::ThresholdTrees(Forest& f) : trees_(f.numeric_features.count) {
    const double* const end = f.thresholds.data + f.thresholds.count;
    f.ranks_in_float32 = f.inputs_in_float32 && std::all_of(f.thresholds.data, end, fits_float32);
    std::size_t n = 0;
    for (std::size_t i = 0; i < trees_.size(); ++i) n += n_numbers(f.numeric_features[i].n_thresholds);
    f.threshold_trees = trees_.data();
    const std::size_t n_bytes = n * (f.ranks_in_float32 ? sizeof(float) : sizeof(double));
    if (n_bytes > kMostBytes) return;
    numbers_ = std::make_unique<Arena<unsigned char>>(n_bytes);
    if (f.ranks_in_float32)
        lay_out(f, reinterpret_cast<float*>(numbers_->data()));
    else
        lay_out(f, reinterpret_cast<double*>(numbers_->data()));
}

template <typename Number>
void ThresholdTrees::lay_out(const Forest& f, Number* numbers) {
    for (std::size_t i = 0; i < trees_.size(); ++i) {
        const NumericFeature& record = f.numeric_features[i];
        const std::vector<std::size_t> sizes = level_sizes(record.n_thresholds);
        trees_[i].n_levels = static_cast<std::uint32_t>(sizes.size());
        Number* below = nullptr;
        for (std::size_t up = 0; up < sizes.size(); ++up) {
            const std::size_t n_level = sizes[up] * kNodeThresholds;
            std::fill_n(numbers, n_level, std::numeric_limits<Number>::infinity());
            if (up == 0) {
                for (std::size_t t = 0; t < record.n_thresholds; ++t)
                    numbers[t] = static_cast<Number>(f.thresholds[record.first_threshold + t]);
            } else {
                for (std::size_t child = 0; child < sizes[up - 1]; ++child)
                    numbers[child] = below[child * kNodeThresholds + kNodeThresholds - 1];
            }
            trees_[i].levels[sizes.size() - 1 - up] = numbers;
            below = numbers;
            numbers += n_level;
        }
    }
}

}  // namespace mlrf
