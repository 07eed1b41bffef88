// SHAP values of one row: the mathematics of shap.hpp over the layout of shap_layout.hpp, with the quadrature in the vector lanes.
//
// shap_block.hpp explains several rows together by the same expressions, in the same order: a change here is a change there.
#pragma once

#include <cstddef>
#include <cstdint>

#include "shap.hpp"
#include "shap_layout.hpp"

namespace mlrf::MLRF_LEVEL {

// Which way a row goes at a node: 0 left, 1 right, or kExcluded where an earlier split on the same feature has excluded the row. Numbers are
// looked up by it, because the compiler turns conditions into branches, whose mispredictions took half of a row's time.
constexpr unsigned kExcluded = 2;
static constexpr double kGoesLeft[3] = {1.0, 0.0, 0.0};
static constexpr double kCounts[3] = {1.0, 1.0, 0.0};

// How many nodes of the quadrature a vector holds; two vectors are used where one does not hold them all. (Vectors of 64 bytes were no
// faster than two of 32.)
constexpr int kPartLanes = MLRF_VECTOR_BYTES < 32 ? MLRF_VECTOR_BYTES / 8 : 4;
constexpr int kMostParts = 2;

typedef typename Doubles<kPartLanes>::Vector Part;

// t / F and R / F^2, R being the product of the shares taken at earlier splits on the feature.
struct EarlierTerms {
    Part move, factor;

    EarlierTerms(double share, const Part& t) {
        const Part inverse = 1.0 / (share + (1.0 - share) * t);
        move = t * inverse;
        factor = share * (inverse * inverse);
    }
};

template <typename Node, typename Column>
inline unsigned first_way(const Node& node, const Column* columns) {
    return columns[node.column] > node.rank;
}

template <typename Node, typename Column>
inline unsigned later_way(const Node& node, const Column* columns, const std::uint8_t* ways) {
    // By the way at the earlier split, with its last bit turned where the path goes right there, and the side here.
    static constexpr std::uint8_t kLater[8] = {0, 1, kExcluded, kExcluded, kExcluded, kExcluded, kExcluded, kExcluded};
    const unsigned side = columns[node.column] > node.rank;
    return kLater[2 * (ways[node.earlier / 2] ^ (node.earlier & 1u)) + side];
}

// Contributions of one chunk, kParts vectors of nodes of the quadrature rule from `first` on.
template <int kParts, typename Index, typename Column>
void explain_chunk(const ShapLayout& layout, const LaidOutChunk& chunk, std::size_t first, const Column* columns,
                   const ExplainScratch& scratch) {
    const Quadrature rule = scratch.rules[chunk.n_quadrature];
    Part t[kParts], root_weight[kParts];
    for (int part = 0; part < kParts; ++part) {
        t[part] = reinterpret_cast<const Part*>(rule.at + first)[part];
        root_weight[part] = reinterpret_cast<const Part*>(rule.weight + first)[part];
    }
    const UpperNode<Index>* upper = static_cast<const UpperNode<Index>*>(layout.upper) + chunk.first_upper;
    const LastNode<Index>* last = static_cast<const LastNode<Index>*>(layout.last) + chunk.first_last;
    const UpperRun* runs = layout.runs + chunk.first_run;
    const double* earlier_share = layout.earlier_shares + chunk.first_earlier;
    Part* slots = reinterpret_cast<Part*>(scratch.slots);
    Part* seen_terms = reinterpret_cast<Part*>(scratch.seen_terms);
    Part* sums = reinterpret_cast<Part*>(scratch.sums);
    std::uint8_t* ways = scratch.ways;

    for (std::size_t root = 0; root < chunk.n_roots; ++root)
        for (int part = 0; part < kParts; ++part)
            slots[std::size_t{layout.roots[chunk.first_root + root]} * kParts + part] = root_weight[part];
    std::size_t i = 0;
    for (std::size_t r = 0; r < chunk.n_runs; ++r) {
        const std::size_t end = runs[r].end;
        if (runs[r].kind == UpperKind::kFirst) {
            for (; i < end; ++i) {
                const UpperNode<Index>& node = upper[i];
                const unsigned way = first_way(node, columns);
                ways[i] = static_cast<std::uint8_t>(way);
                const double delta = kGoesLeft[way] - node.share;
                Part* left_slot = slots + std::size_t{node.left} * kParts;
                Part* right_slot = slots + std::size_t{node.right} * kParts;
                for (int part = 0; part < kParts; ++part) {
                    const Part p = slots[i * kParts + part];
                    const Part left = p * (node.share + delta * t[part]);
                    left_slot[part] = left;
                    right_slot[part] = p - left;
                }
            }
        } else if (runs[r].kind == UpperKind::kFirstWithLeaf) {
            for (; i < end; ++i) {
                const UpperNode<Index>& node = upper[i];
                const unsigned way = first_way(node, columns) ^ node.right;
                ways[i] = static_cast<std::uint8_t>(way);
                const double delta = kGoesLeft[way] - node.share;
                Part* left_slot = slots + std::size_t{node.left} * kParts;
                for (int part = 0; part < kParts; ++part) left_slot[part] = slots[i * kParts + part] * (node.share + delta * t[part]);
            }
        } else {
            for (; i < end; ++i) {
                const UpperNode<Index>& node = upper[i];
                const unsigned way = later_way(node, columns, ways);
                ways[i] = static_cast<std::uint8_t>(way);
                const double delta = kGoesLeft[way] - kCounts[way] * node.share, earlier = *earlier_share++;
                Part* left_slot = slots + std::size_t{node.left} * kParts;
                Part* right_slot = slots + std::size_t{node.right} * kParts;
                for (int part = 0; part < kParts; ++part) {
                    const EarlierTerms terms(earlier, t[part]);
                    const Part p = slots[i * kParts + part];
                    const Part g = node.share + delta * terms.move;
                    const Part left = p * g;
                    left_slot[part] = left;
                    right_slot[part] = p - left;
                    slots[i * kParts + part] = p * (delta * terms.factor);
                    *seen_terms++ = g;
                }
            }
        }
    }
    Part* last_slots = slots + chunk.n_upper * kParts;
    std::size_t l = 0;
    for (; l < chunk.n_last - chunk.n_seen_last; ++l) {
        const LastNode<Index>& node = last[l];
        const double move = node.moves[first_way(node, columns)];
        Part* sum = sums + std::size_t{node.sum} * kParts;
        for (int part = 0; part < kParts; ++part) {
            const Part p = last_slots[l * kParts + part];
            last_slots[l * kParts + part] = node.mean + move * t[part];
            sum[part] += p * move;
        }
    }
    for (; l < chunk.n_last; ++l) {
        const LastNode<Index>& node = last[l];
        const unsigned way = later_way(node, columns, ways);
        const double move = node.moves[way & 1] * kCounts[way], earlier = *earlier_share++;
        Part* sum = sums + std::size_t{node.sum} * kParts;
        for (int part = 0; part < kParts; ++part) {
            const EarlierTerms terms(earlier, t[part]);
            const Part p = last_slots[l * kParts + part];
            last_slots[l * kParts + part] = node.mean + move * terms.move;
            sum[part] += p * (move * terms.factor);
        }
    }
    const double* const leaf_neighbours = layout.leaves + chunk.first_leaf;
    const double* leaves = leaf_neighbours + chunk.n_leaf_neighbours;
    for (std::size_t leaf = 0; leaf < chunk.n_leaves; ++leaf)
        for (int part = 0; part < kParts; ++part) last_slots[(chunk.n_last + leaf) * kParts + part] = Part{} + leaves[leaf];
    const double* leaf_neighbour = leaves;
    for (std::size_t r = chunk.n_runs; r-- > 0;) {
        const std::size_t begin = r == 0 ? 0 : runs[r - 1].end;
        if (runs[r].kind == UpperKind::kFirst) {
            while (i-- > begin) {
                const UpperNode<Index>& node = upper[i];
                const double delta = kGoesLeft[ways[i]] - node.share;
                const Part* left_slot = slots + std::size_t{node.left} * kParts;
                const Part* right_slot = slots + std::size_t{node.right} * kParts;
                Part* sum = sums + std::size_t{node.sum} * kParts;
                for (int part = 0; part < kParts; ++part) {
                    const Part right = right_slot[part];
                    const Part difference = left_slot[part] - right;
                    sum[part] += slots[i * kParts + part] * delta * difference;
                    slots[i * kParts + part] = right + (node.share + delta * t[part]) * difference;
                }
            }
        } else if (runs[r].kind == UpperKind::kFirstWithLeaf) {
            while (i-- > begin) {
                const UpperNode<Index>& node = upper[i];
                const double delta = kGoesLeft[ways[i]] - node.share, right = *--leaf_neighbour;
                const Part* left_slot = slots + std::size_t{node.left} * kParts;
                Part* sum = sums + std::size_t{node.sum} * kParts;
                for (int part = 0; part < kParts; ++part) {
                    const Part difference = left_slot[part] - right;
                    sum[part] += slots[i * kParts + part] * delta * difference;
                    slots[i * kParts + part] = right + (node.share + delta * t[part]) * difference;
                }
            }
        } else {
            while (i-- > begin) {
                const UpperNode<Index>& node = upper[i];
                const Part* left_slot = slots + std::size_t{node.left} * kParts;
                const Part* right_slot = slots + std::size_t{node.right} * kParts;
                Part* sum = sums + std::size_t{node.sum} * kParts;
                seen_terms -= kParts;
                for (int part = 0; part < kParts; ++part) {
                    const Part right = right_slot[part];
                    const Part difference = left_slot[part] - right;
                    sum[part] += slots[i * kParts + part] * difference;
                    slots[i * kParts + part] = right + seen_terms[part] * difference;
                }
            }
        }
        i = begin;
    }
}

// Add the contributions of the chunks whose rule kParts vectors hold (the last: and of those with more) to contributions [F][K].
template <int kParts, typename Index, typename Column>
void explain_chunks(const Forest& f, const ShapLayout& layout, const Column* columns, const ExplainScratch& scratch,
                    double* contributions) {
    constexpr std::size_t kLanes = kParts * kPartLanes, kFewer = kLanes - kPartLanes;
    const std::size_t n_sums = std::size_t{f.n_outputs} * f.shap_features.count;
    bool is_any = false;
    for (std::size_t c = 0; c < layout.n_chunks; ++c) {
        const LaidOutChunk& chunk = layout.chunks[c];
        if (chunk.n_quadrature <= kFewer || (chunk.n_quadrature > kLanes && kParts != kMostParts)) continue;
        if (!is_any)
            for (std::size_t i = 0; i < n_sums * kLanes; ++i) scratch.sums[i] = 0.0;
        is_any = true;
        for (std::size_t first = 0; first < chunk.n_quadrature; first += kLanes)
            explain_chunk<kParts, Index>(layout, chunk, first, columns, scratch);
    }
    if (!is_any) return;
    for (std::size_t k = 0; k < f.n_outputs; ++k)
        for (std::size_t u = 0; u < f.shap_features.count; ++u) {
            double sum = 0.0;
            for (std::size_t lane = 0; lane < kLanes; ++lane) sum += scratch.sums[(k * f.shap_features.count + u) * kLanes + lane];
            contributions[std::size_t{f.shap_features[u]} * f.n_outputs + k] += sum / f.divisor * f.scale;
        }
}

// Contributions [F][K] of one row.
template <typename Index, typename Column>
void explain_one_row(const Forest& f, const ShapLayout& layout, const Column* columns, const ExplainScratch& scratch,
                     double* contributions) {
    for (std::size_t i = 0; i < std::size_t{f.n_inputs} * f.n_outputs; ++i) contributions[i] = 0.0;
    explain_chunks<1, Index>(f, layout, columns, scratch, contributions);
    explain_chunks<2, Index>(f, layout, columns, scratch, contributions);
}

}  // namespace mlrf::MLRF_LEVEL
