// The explained trees as SHAP values are computed from them; see shap_trees.hpp for how they are made. Plain data only.
//
// A chunk's nodes are of two kinds. A last node has two leaves, so what it adds to the sums depends on nothing below it: all last
// nodes follow the other nodes, and are done with in one pass. The others ("upper nodes") are in the order of their levels. A slot
// is where a node's P, then the factor of its sum, then its G are kept: first those of upper nodes, of last nodes, and of the
// leaves of upper nodes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mlrf {

// Index is 16 bits where all columns, ranks, sums and slots of the forest fit, else 32.
template <typename Index>
struct UpperNode {
    double share;   // of the node's cover that goes left
    Index left;     // slot
    Index right;
    Index column;
    Index rank;
    Index sum;
    Index earlier;  // 2 * slot + (1 if right) of the feature's nearest split above; 0 where it appears first
};

template <typename Index>
struct LastNode {
    double mean;      // of its leaves, by cover
    double moves[2];  // from the mean to the left leaf, to the right leaf
    Index column;
    Index rank;
    Index sum;
    Index earlier;
};

static_assert(sizeof(UpperNode<std::uint16_t>) == 24 && sizeof(LastNode<std::uint16_t>) == 32, "no padding but the last");
static_assert(sizeof(UpperNode<std::uint32_t>) == 32 && sizeof(LastNode<std::uint32_t>) == 40, "no padding");

// Consecutive upper nodes of a chunk whose features all appear for the first time on their path, or all appeared before.
struct UpperRun {
    std::uint32_t end;  // within the chunk, exclusive
    std::uint32_t seen;
};

struct LaidOutChunk {
    std::size_t first_upper, first_last, first_run, first_leaf, first_root;
    std::size_t first_earlier;  // of earlier_shares: seen upper nodes, then seen last nodes
    std::size_t n_upper, n_last, n_runs, n_leaves, n_roots, n_quadrature;
    std::size_t n_seen_last;  // last nodes whose features appeared before; they follow the others
};

struct ShapLayout {
    bool is_short;      // Index is 16 bits
    const void* upper;  // UpperNode []
    const void* last;   // LastNode []
    const UpperRun* runs;
    const double* earlier_shares;  // products of shares over the feature's earlier splits
    const double* leaves;          // values of the leaves of upper nodes
    const std::uint32_t* roots;    // slots
    const LaidOutChunk* chunks;
    std::size_t n_chunks;
    std::size_t most_slots, most_upper, most_nodes;  // of one chunk
};

}  // namespace mlrf
