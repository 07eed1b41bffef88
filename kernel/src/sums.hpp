// The start of the sum of the leaves, and the steps after it, each in the precision that the file names.
#pragma once

#include <cstddef>

#include "forest.hpp"

namespace mlrf::MLRF_LEVEL {

inline double start_sum(const Forest& f, std::size_t k) {
    if (f.adds_base_last) return 0.0;
    return is_float32_sum(f, k) ? static_cast<float>(f.base[k]) : f.base[k];
}

inline double finish_sum(const Forest& f, std::size_t k, double sum) {
    if (is_float32_sum(f, k)) {
        const float margin = static_cast<float>(sum) / static_cast<float>(f.divisor) * static_cast<float>(f.scale);
        if (!f.adds_base_last) return margin;
        // Volatile prevents a fused multiply-add, which would round once where the libraries round twice.
        const volatile float scaled = margin;
        // In float64, rounded once: treelite keeps bases in float64. Of a float32 base the sum is the same bits either way.
        return static_cast<float>(scaled + f.base[k]);
    }
    const double margin = sum / f.divisor * f.scale;
    if (!f.adds_base_last) return margin;
    const volatile double scaled = margin;
    return scaled + f.base[k];
}

}  // namespace mlrf::MLRF_LEVEL
