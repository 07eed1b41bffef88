// The explained trees as SHAP values are computed from them; see shap_trees.hpp for how they are made. Plain data only.
//
// A chunk's nodes are of two kinds. A last node has two leaves, so what it adds to the sums depends on nothing below it: all last
// nodes follow the other nodes, and are done with in one pass. The others ("upper nodes") are in the order of their levels. A slot
// is where a node's P, then its G are kept (between them, for a feature seen before, the factor of its sum): first those of upper
// nodes, of last nodes, and of the leaves of upper nodes.
//
// Writing slots limits the speed, so an upper node with a leaf has no slot for the leaf, where the feature is the first of its kind
// on the path. It is mirrored if the leaf is on the left, so that the other child is always its left one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mlrf {

// Index is 16 bits where all columns, ranks, sums and slots of the forest fit, else 32.
template <typename Index>
struct UpperNode {
    double share;   // of the node's cover that goes left
    Index left;     // slot
    Index right;    // slot; of kFirstWithLeaf: 1 if the node is mirrored, else 0
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

// Whether an upper node's feature appears for the first time on its path, and then whether one of its children is a leaf.
enum class UpperKind : std::uint32_t { kFirst, kFirstWithLeaf, kSeen };
constexpr std::uint32_t kUpperKinds = 3;

// Consecutive upper nodes of a chunk of the same kind.
struct UpperRun {
    std::uint32_t end;  // within the chunk, exclusive
    UpperKind kind;
};

struct LaidOutChunk {
    std::size_t first_upper, first_last, first_run, first_leaf, first_root;
    std::size_t first_earlier;  // of earlier_shares: seen upper nodes, then seen last nodes
    std::size_t n_leaf_neighbours;  // leaves without a slot, in the order of their nodes; those with one follow
    std::size_t n_upper, n_last, n_runs, n_leaves, n_roots, n_quadrature;
    std::size_t n_seen;       // earlier_shares
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
    std::size_t most_slots, most_seen, most_seen_upper, most_nodes;  // of one chunk
};

}  // namespace mlrf
