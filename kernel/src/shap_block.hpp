// SHAP values of a block of rows: the mathematics of shap.hpp with rows in the vector lanes and the quadrature in a loop.
//
// Terms that do not depend on the row (t / F, R / F^2) are then one number per node instead of a vector, computed once a block,
// and no lane is padding: 8 rows cost little more than one.
#pragma once

#include <cstddef>
#include <cstdint>

#include "shap.hpp"

namespace mlrf::MLRF_LEVEL {

constexpr int kShapLanes = MLRF_VECTOR_BYTES / 8;

template <typename Column>
struct ColumnLanes;
template <>
struct ColumnLanes<std::uint16_t> {
    typedef std::uint16_t Vector __attribute__((vector_size(2 * kShapLanes), may_alias));
};
template <>
struct ColumnLanes<std::uint32_t> {
    typedef std::uint32_t Vector __attribute__((vector_size(4 * kShapLanes), may_alias));
};

// split_row for a group of rows.
template <typename Column>
void split_group(const ShapNode* nodes, const ShapRun* runs, std::size_t n_runs, const Column* columns, double* delta,
                 double* spent) {
    typedef typename Doubles<kShapLanes>::Vector Vector;
    typedef typename ColumnLanes<Column>::Vector ColumnVector;
    const ColumnVector* column = reinterpret_cast<const ColumnVector*>(columns);
    Vector* d = reinterpret_cast<Vector*>(delta);
    Vector* s = reinterpret_cast<Vector*>(spent);
    const Vector one = Vector{} + 1.0;
    std::size_t i = 0;
    for (std::size_t r = 0; r < n_runs; ++r) {
        const bool is_seen = runs[r].seen != 0;
        for (const std::size_t end = runs[r].end; i < end; ++i) {
            const ColumnVector goes_right =
                static_cast<ColumnVector>(column[nodes[i].column] > static_cast<Column>(nodes[i].rank)) & 1;
            const Vector z = one - __builtin_convertvector(goes_right, Vector);
            if (is_seen) {
                const Vector earlier = s[nodes[i].earlier];
                const Vector left = earlier * z;
                d[i] = left - earlier * nodes[i].share;
                s[2 * i] = left;
                s[2 * i + 1] = earlier - left;
            } else {
                d[i] = z - nodes[i].share;
                s[2 * i] = z;
                s[2 * i + 1] = one - z;
            }
        }
    }
}

// t / F and R / F^2 of each node of a chunk at one t.
inline void compute_factors(const ShapNode* nodes, std::size_t n_nodes, double t, double* factors) {
    for (std::size_t i = 0; i < n_nodes; ++i) {
        const double inverse = 1.0 / (nodes[i].earlier_share + (1.0 - nodes[i].earlier_share) * t);
        factors[2 * i] = t * inverse;
        factors[2 * i + 1] = nodes[i].earlier_share * (inverse * inverse);
    }
}

// One group of rows, one chunk, one t.
inline void explain_group(const ShapChunk& chunk, const ShapNode* nodes, double root_weight, const double* factors,
                          const ShapScratch& scratch, double* sums) {
    typedef typename Doubles<kShapLanes>::Vector Vector;
    Vector* weight = reinterpret_cast<Vector*>(scratch.weight);
    Vector* share = reinterpret_cast<Vector*>(scratch.share);
    const Vector* delta = reinterpret_cast<const Vector*>(scratch.delta);
    for (std::size_t root = 0; root < chunk.n_roots; ++root) weight[root] = Vector{} + root_weight;
    for (std::size_t i = 0; i < chunk.n_nodes; ++i) {
        const ShapNode& node = nodes[i];
        const Vector p = weight[i];
        const Vector g = node.share + delta[i] * factors[2 * i];
        const Vector left = p * g;
        weight[node.left] = left;
        weight[node.right] = p - left;
        weight[i] = p * (delta[i] * factors[2 * i + 1]);
        share[i] = g;
    }
    gather_up<kShapLanes>(nodes, chunk.n_nodes, scratch.weight, scratch.value, scratch.share, sums);
}

// Contributions of at most kShapBlockRows rows, contributions[row][F][K]. A row's result does not depend on its position.
template <typename Column, typename Value>
void explain_block(const Forest& f, const Value* values, std::size_t n_rows, const ShapScratch& scratch,
                   double* contributions) {
    typedef typename Doubles<kShapLanes>::Vector Vector;
    const std::size_t n_groups = (n_rows + kShapLanes - 1) / kShapLanes;
    const std::size_t n_sums = std::size_t{f.n_outputs} * f.shap_features.count;
    const std::size_t group_columns = std::size_t{f.n_columns} * kShapLanes;
    Column* columns = static_cast<Column*>(scratch.columns);
    for (std::size_t row = 0; row < n_groups * kShapLanes; ++row) {
        // Lanes beyond the last row repeat it.
        const Value* source = values + (row < n_rows ? row : n_rows - 1) * f.n_inputs;
        fill_columns<Column>(f, source, columns + (row / kShapLanes) * group_columns + row % kShapLanes, kShapLanes);
    }
    for (std::size_t i = 0; i < n_groups * n_sums * kShapLanes; ++i) scratch.sums[i] = 0.0;
    for (std::size_t c = 0; c < f.shap_chunks.count; ++c) {
        const ShapChunk& chunk = f.shap_chunks[c];
        const ShapNode* nodes = f.shap_nodes.data + chunk.first_node;
        const Quadrature rule = scratch.rules[chunk.n_quadrature];
        Vector* value = reinterpret_cast<Vector*>(scratch.value);
        for (std::size_t leaf = 0; leaf < chunk.n_leaves; ++leaf)
            value[chunk.n_nodes + leaf] = Vector{} + f.shap_leaves[chunk.first_leaf + leaf];
        for (std::size_t first = 0; first < chunk.n_quadrature; first += kFactorNodes) {
            const std::size_t end = first + kFactorNodes < chunk.n_quadrature ? first + kFactorNodes : chunk.n_quadrature;
            for (std::size_t q = first; q < end; ++q)
                compute_factors(nodes, chunk.n_nodes, rule.at[q], scratch.factors + (q - first) * 2 * chunk.n_nodes);
            for (std::size_t group = 0; group < n_groups; ++group) {
                split_group<Column>(nodes, f.shap_runs.data + chunk.first_run, chunk.n_runs, columns + group * group_columns,
                                    scratch.delta, scratch.spent);
                for (std::size_t q = first; q < end; ++q)
                    explain_group(chunk, nodes, rule.weight[q], scratch.factors + (q - first) * 2 * chunk.n_nodes, scratch,
                                  scratch.sums + group * n_sums * kShapLanes);
            }
        }
    }
    const std::size_t row_size = std::size_t{f.n_inputs} * f.n_outputs;
    for (std::size_t i = 0; i < n_rows * row_size; ++i) contributions[i] = 0.0;
    for (std::size_t row = 0; row < n_rows; ++row) {
        const double* sums = scratch.sums + (row / kShapLanes) * n_sums * kShapLanes + row % kShapLanes;
        double* out = contributions + row * row_size;
        for (std::size_t k = 0; k < f.n_outputs; ++k)
            for (std::size_t u = 0; u < f.shap_features.count; ++u)
                out[std::size_t{f.shap_features[u]} * f.n_outputs + k] =
                    sums[(k * f.shap_features.count + u) * kShapLanes] / f.divisor * f.scale;
    }
}

}  // namespace mlrf::MLRF_LEVEL
