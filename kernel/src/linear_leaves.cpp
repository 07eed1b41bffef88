// Compiled without contraction: LightGBM rounds each product before it adds it.
#include "linear_leaves.hpp"

#include <cmath>

#include "forest_checks.hpp"
#include "reached_leaf.hpp"

namespace mlrf {
namespace {

double value_at(const void* values, bool is_float32, std::uint32_t feature) {
    const double x = is_float32 ? static_cast<const float*>(values)[feature] : static_cast<const double*>(values)[feature];
    // LightGBM reads numbers this close to zero as zero before its trees see them.
    return std::fabs(x) <= kZeroBand ? 0.0 : x;
}

}  // namespace

void linear_values(const Forest& f, const void* values, bool is_float32, const unsigned char* columns, double* value_of_tree) {
    for (std::size_t t = 0; t < f.n_trees; ++t) {
        const std::size_t index = f.trees[t].first_value + reached_leaf(f, columns, f.trees[t]);
        const LinearLeaf& leaf = f.linear_leaves[index];
        double sum = leaf.constant;
        for (std::uint32_t i = leaf.first; i < leaf.first + leaf.count; ++i) {
            const double x = value_at(values, is_float32, f.linear_features[i]);
            if (std::isnan(x)) {
                sum = f.leaf_values[index];
                break;
            }
            sum += f.linear_coefficients[i] * x;
        }
        value_of_tree[t] = sum;
    }
}

void check_linear_leaves(const Forest& f) {
    const std::size_t n = f.linear_leaves.count;
    require(n == 0 || n == f.leaf_values.count, "linear leaves and leaf values do not match");
    require(n == 0 || (f.tables.count == 0 && !f.sums_in_float32 && f.sum_roundings == nullptr && !f.inputs_in_float32),
            "linear leaves stand in a forest of float32 or of tables");
    require(f.linear_features.count == f.linear_coefficients.count, "features and coefficients of leaves do not match");
    std::uint64_t next = 0;
    for (std::size_t i = 0; i < n; ++i) {
        const LinearLeaf& leaf = f.linear_leaves[i];
        require(leaf.first == next && is_within(next, leaf.count, f.linear_features.count), "linear leaves are out of order");
        require(std::isfinite(leaf.constant), "the constant of a linear leaf is not finite");
        next += leaf.count;
    }
    require(next == f.linear_features.count, "a coefficient has no leaf");
    for (std::size_t i = 0; i < f.linear_features.count; ++i)
        require(f.linear_features[i] < f.n_features, "a linear leaf reads no feature");
    require_finite(f.linear_coefficients, "a coefficient of a leaf is not finite");
}

}  // namespace mlrf
