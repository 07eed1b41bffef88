// Exact path-dependent SHAP values (TreeSHAP, Lundberg et al. 2020) by Gauss-Legendre quadrature.
//
// Shapley's weights are integrals of polynomials over t in [0, 1], so a few values of t, in vector lanes, replace the sums over
// subsets. At a node with feature f, let r be the share of cover that goes left, z = 1 if the row goes left else 0; over the
// earlier splits on f along this path let R be the product of shares taken and Z = 1 if the row took them all (R = Z = 1 at the
// first). With F = R + (1 - R) t and d = Z (z - r):
//     g = r + d t / F                       P_left = P g,  P_right = P - P_left       (P = weight of t at the root)
//     G = G_right + g (G_left - G_right)    (G = its value at a leaf)
//     phi[f] += d R / F^2 * P (G_left - G_right)
// If Z = 0, an earlier split on f already excluded the row and g = r; F is that of Z = 1 and never 0. Nodes are in level order
// over a chunk of trees: no recursion, no mispredicted branch.
#pragma once

#include <cstddef>
#include <cstdint>

#include "forest.hpp"
#include "ranks.hpp"
#include "scratch.hpp"

namespace mlrf::MLRF_LEVEL {

template <int kLanes>
struct Doubles;
template <>
struct Doubles<2> {
    typedef double Vector __attribute__((vector_size(16), may_alias));
};
template <>
struct Doubles<4> {
    typedef double Vector __attribute__((vector_size(32), may_alias));
};
template <>
struct Doubles<8> {
    typedef double Vector __attribute__((vector_size(64), may_alias));
};

// 1 if the row goes left, else 0. The number is loaded, because the compiler turns `? 1.0 : 0.0` into a branch, whose
// mispredictions took half of a row's time.
template <typename Column>
inline double goes_left(const ShapNode& node, const Column* columns) {
    static constexpr double kNumbers[2] = {0.0, 1.0};
    return kNumbers[columns[node.column] <= node.rank];
}

// Compute d and Z at each node of a chunk: which way the row goes.
template <typename Column>
void split_row(const ShapNode* nodes, const ShapRun* runs, std::size_t n_runs, const Column* columns, double* delta,
               double* spent) {
    std::size_t i = 0;
    for (std::size_t r = 0; r < n_runs; ++r) {
        const std::size_t end = runs[r].end;
        if (runs[r].seen == 0) {
            for (; i < end; ++i) {
                const double z = goes_left(nodes[i], columns);
                delta[i] = z - nodes[i].share;
                spent[2 * i] = z;
                spent[2 * i + 1] = 1.0 - z;
            }
        } else {
            for (; i < end; ++i) {
                const double z = goes_left(nodes[i], columns);
                const double earlier = spent[nodes[i].earlier];
                delta[i] = earlier * (z - nodes[i].share);
                spent[2 * i] = earlier * z;
                spent[2 * i + 1] = earlier * (1.0 - z);
            }
        }
    }
}

// From the roots downwards, for one row, one chunk and `kLanes` nodes of the quadrature rule from `first` on: compute g, and the
// factor of each node's part of its feature's sum.
template <int kLanes>
void weigh_down(const Forest& f, const ShapChunk& chunk, std::size_t first, const ShapScratch& scratch) {
    typedef typename Doubles<kLanes>::Vector Vector;
    const Quadrature rule = scratch.rules[chunk.n_quadrature];
    const ShapNode* nodes = f.shap_nodes.data + chunk.first_node;
    const ShapRun* runs = f.shap_runs.data + chunk.first_run;
    const Vector t = *reinterpret_cast<const Vector*>(rule.at + first);
    const Vector root_weight = *reinterpret_cast<const Vector*>(rule.weight + first);
    Vector* weight = reinterpret_cast<Vector*>(scratch.weight);
    Vector* value = reinterpret_cast<Vector*>(scratch.value);
    Vector* share = reinterpret_cast<Vector*>(scratch.share);
    for (std::size_t leaf = 0; leaf < chunk.n_leaves; ++leaf)
        value[chunk.n_nodes + leaf] = Vector{} + f.shap_leaves[chunk.first_leaf + leaf];
    for (std::size_t root = 0; root < chunk.n_roots; ++root) weight[root] = root_weight;
    std::size_t i = 0;
    for (std::size_t r = 0; r < chunk.n_runs; ++r) {
        const std::size_t end = runs[r].end;
        if (runs[r].seen == 0) {
            for (; i < end; ++i) {
                const ShapNode& node = nodes[i];
                const Vector p = weight[i];
                const Vector g = node.share + scratch.delta[i] * t;
                const Vector left = p * g;
                weight[node.left] = left;
                weight[node.right] = p - left;
                weight[i] = p * scratch.delta[i];
                share[i] = g;
            }
        } else {
            for (; i < end; ++i) {
                const ShapNode& node = nodes[i];
                const Vector p = weight[i];
                const Vector inverse = 1.0 / (node.earlier_share + (1.0 - node.earlier_share) * t);
                const Vector g = node.share + scratch.delta[i] * (t * inverse);
                const Vector left = p * g;
                weight[node.left] = left;
                weight[node.right] = p - left;
                weight[i] = p * (inverse * inverse) * (scratch.delta[i] * node.earlier_share);
                share[i] = g;
            }
        }
    }
}

// Contributions of one row, [F][K], and whatever else `lanes` sums. `lanes.explain<width>(chunk, first)` explains a chunk;
// `lanes.begin(width)` and `lanes.end(width)` are called around a pass over the chunks of one width.
template <typename Column, typename Lanes>
void explain_row(const Forest& f, const Column* columns, const ShapScratch& scratch, const Lanes& lanes_of, double* contributions) {
    constexpr int kWidest = MLRF_VECTOR_BYTES / 8;
    constexpr int kNarrower = kWidest == 8 ? 4 : kWidest;
    // Sums of both widths share one array, the narrower first: one pass over the chunks of each width.
    const std::size_t n_sums = std::size_t{f.n_outputs} * f.shap_features.count;
    for (std::size_t i = 0; i < std::size_t{f.n_inputs} * f.n_outputs; ++i) contributions[i] = 0.0;
    for (int pass = 0; pass < (kWidest == kNarrower ? 1 : 2); ++pass) {
        const bool is_wide = pass == 1;
        const std::size_t lanes = is_wide ? kWidest : kNarrower;
        for (std::size_t i = 0; i < n_sums * lanes; ++i) scratch.sums[i] = 0.0;
        lanes_of.begin(lanes);
        bool is_empty = true;
        for (std::size_t c = 0; c < f.shap_chunks.count; ++c) {
            const ShapChunk& chunk = f.shap_chunks[c];
            if (kWidest != kNarrower && (chunk.n_quadrature > 4) != is_wide) continue;
            is_empty = false;
            split_row(f.shap_nodes.data + chunk.first_node, f.shap_runs.data + chunk.first_run, chunk.n_runs, columns,
                      scratch.delta, scratch.spent);
            for (std::size_t first = 0; first < chunk.n_quadrature; first += lanes)
                if (is_wide)
                    lanes_of.template explain<kWidest>(chunk, first);
                else
                    lanes_of.template explain<kNarrower>(chunk, first);
        }
        if (is_empty) continue;
        lanes_of.end(lanes);
        for (std::size_t k = 0; k < f.n_outputs; ++k)
            for (std::size_t u = 0; u < f.shap_features.count; ++u) {
                double sum = 0.0;
                for (std::size_t lane = 0; lane < lanes; ++lane)
                    sum += scratch.sums[(k * f.shap_features.count + u) * lanes + lane];
                contributions[std::size_t{f.shap_features[u]} * f.n_outputs + k] += sum / f.divisor * f.scale;
            }
    }
}

}  // namespace mlrf::MLRF_LEVEL
