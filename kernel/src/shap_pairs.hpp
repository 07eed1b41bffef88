// Exact path-dependent interaction values (Lundberg et al. 2020) by the quadrature of shap.hpp.
//
// On the path to a leaf of value v each feature f is a factor F = R + (Z - R) t. Shapley's interaction of two features is the
// integral of the second derivative, v * product of all F * A_i * A_j with A = (Z - R) / F, summed over leaves. At each node below
// other splits, shap.hpp has already summed v * product * A_j over the leaves, j being its feature; what splits above it add to
// A_i is the same for all these leaves. So a node adds its part of phi[j] times A_i to the pair (i, j), for each feature i above it
// by the nearest split on i. Every pair of splits is met once, at the lower one.
//
// A is (1 - R) / (R + (1 - R) t) where the row took every split on the feature, and -1 / (1 - t) where it did not (R cancels).
#pragma once

#include "shap.hpp"

namespace mlrf::MLRF_LEVEL {

// A of both edges of each node of a chunk, at the t of the lanes.
template <int kLanes>
void fill_edges(const ShapNode* nodes, std::size_t n_nodes, typename Doubles<kLanes>::Vector t, const double* spent, double* edges) {
    typedef typename Doubles<kLanes>::Vector Vector;
    static constexpr double kNumbers[2] = {0.0, 1.0};
    const Vector left_out = -1.0 / (1.0 - t);
    Vector* edge = reinterpret_cast<Vector*>(edges);
    for (std::size_t i = 0; i < n_nodes; ++i) {
        // At most one side was taken: A of that side, by arithmetic, because a branch would be mispredicted.
        const double left = spent[2 * i], right = spent[2 * i + 1];
        const double share = nodes[i].earlier_share * (left * nodes[i].share + (1.0 - left) * (1.0 - nodes[i].share));
        const Vector taken = (1.0 - share) / (share + (1.0 - share) * t);
        edge[2 * i] = left * taken + (kNumbers[left == 0.0]) * left_out;
        edge[2 * i + 1] = right * taken + (kNumbers[right == 0.0]) * left_out;
    }
}

// From the leaves upwards: compute G, and each node's part of its feature's sum and of its pairs.
template <int kLanes>
void gather_pairs(const ShapNode* nodes, std::size_t n_nodes, const std::uint32_t* first_edge, const PairPaths& paths,
                  const ShapScratch& scratch, const double* edges, double* pair_sums) {
    typedef typename Doubles<kLanes>::Vector Vector;
    const Vector* w = reinterpret_cast<const Vector*>(scratch.weight);
    const Vector* g = reinterpret_cast<const Vector*>(scratch.share);
    const Vector* a = reinterpret_cast<const Vector*>(edges);
    Vector* v = reinterpret_cast<Vector*>(scratch.value);
    Vector* sum = reinterpret_cast<Vector*>(scratch.sums);
    Vector* pair = reinterpret_cast<Vector*>(pair_sums);
    for (std::size_t i = n_nodes; i-- > 0;) {
        const Vector right = v[nodes[i].right];
        const Vector difference = v[nodes[i].left] - right;
        v[i] = right + g[i] * difference;
        const Vector part = w[i] * difference;
        sum[nodes[i].sum] += part;
        const PairedEdge* end = paths.edges + first_edge[i + 1];
        for (const PairedEdge* e = paths.edges + first_edge[i]; e != end; ++e) pair[e->pair] += part * a[e->edge];
    }
}

// Sums contributions, and the pairs of `paths`.
struct PairLanes {
    const Forest& f;
    const PairPaths& paths;
    const ShapScratch& scratch;
    const PairScratch& pairs;
    double* interactions;

    void begin(std::size_t lanes) const {
        for (std::size_t i = 0; i < paths.n_pairs * lanes; ++i) pairs.sums[i] = 0.0;
    }

    // Half of an interaction belongs to each of its two places in the matrix.
    void end(std::size_t lanes) const {
        for (std::size_t p = 0; p < paths.n_pairs; ++p) {
            double sum = 0.0;
            for (std::size_t lane = 0; lane < lanes; ++lane) sum += pairs.sums[p * lanes + lane];
            interactions[p] += 0.5 * sum / f.divisor * f.scale;
        }
    }

    template <int kLanes>
    void explain(const ShapChunk& chunk, std::size_t first) const {
        typedef typename Doubles<kLanes>::Vector Vector;
        const ShapNode* nodes = f.shap_nodes.data + chunk.first_node;
        weigh_down<kLanes>(f, chunk, first, scratch);
        const Vector t = *reinterpret_cast<const Vector*>(scratch.rules[chunk.n_quadrature].at + first);
        fill_edges<kLanes>(nodes, chunk.n_nodes, t, scratch.spent, pairs.edges);
        gather_pairs<kLanes>(nodes, chunk.n_nodes, paths.first_edge + chunk.first_node, paths, scratch, pairs.edges, pairs.sums);
    }
};

// Contributions [F][K] of one row and its interactions [n_pairs].
template <typename Column>
void explain_pairs(const Forest& f, const PairPaths& paths, const Column* columns, const ShapScratch& scratch,
                   const PairScratch& pairs, double* contributions, double* interactions) {
    for (std::size_t p = 0; p < paths.n_pairs; ++p) interactions[p] = 0.0;
    explain_row(f, columns, scratch, PairLanes{f, paths, scratch, pairs, interactions}, contributions);
}

}  // namespace mlrf::MLRF_LEVEL
