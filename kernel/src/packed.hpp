// Trees packed in bytes: the inner nodes of one or several trees in a block of 64, all decided by one comparison.
//
// Plain data, made from the walk nodes when a forest is opened (packed_trees.hpp), scored by permute.hpp and decide.hpp:
// 1. A numeric column is a byte: its rank among up to 254 thresholds. More thresholds take several bytes, one for each 254.
// 2. Node n of a block goes right if byte column nodes[0][n] > nodes[1][n], or if its bit in the row's category mask is set.
// 3. Nodes are numbered from left to right, tree after tree: node n stands between the block's leaves n + t and n + t + 1, if it
//    belongs to the block's tree t. nodes[2][n] and nodes[3][n] are its children; where a child is a leaf, n itself.
// 4. So a walk ends at the last node above a leaf, and the side that this node takes tells which of its two neighbours the leaf is.
// 5. Blocks hold consecutive trees, in the order of the sum. A tree of one leaf has a block to itself.
#pragma once

#include <cstddef>
#include <cstdint>

#include "format.hpp"

namespace mlrf {

constexpr std::size_t kBlockNodes = 64;
constexpr std::size_t kMostBlockTrees = 8;      // their leaves are read with one 64-bit move
constexpr std::size_t kMostByteColumns = 256;   // four registers of 64
constexpr unsigned kDoublings = 3;              // of the children, before strides of kStride nodes are taken
constexpr std::uint32_t kStride = 1u << kDoublings;
constexpr std::size_t kMostPackedRows = 4;      // rows that go through a block together

struct PackedBlock {
    std::uint64_t category_nodes;  // a bit for each node that tests a category: where the bits of a row's mask belong
    std::uint32_t first_tree;
    std::uint32_t first_value;  // of Forest::leaf_values
    unsigned char roots[kMostBlockTrees];
    std::uint8_t n_trees;
    std::uint8_t n_steps;    // between inner nodes, of the longest path
    std::uint8_t n_strides;  // of kStride nodes: as many reach the end of every path
};

// A numeric feature: n_bytes for each of its columns, from first_byte on.
struct PackedFeature {
    std::uint32_t first_byte;
    std::uint32_t n_bytes;
};

// The nodes of a category feature that go right: a bit for each category node of a block, in their order.
struct PackedCategories {
    // [n_codes + 2][n_blocks] by code, then no code, then NaN; both nullptr where they would take too much memory. Narrow if no
    // block has more than 32 category nodes.
    const std::uint32_t* narrow_masks;
    const std::uint64_t* masks;
    // [n_blocks] where both are nullptr: all nodes of the feature, and those where NaN goes right.
    const std::uint64_t* all_right;
    const std::uint64_t* missing;
};

struct PackedTrees {
    std::size_t n_blocks;
    std::size_t n_bytes;
    const PackedBlock* blocks;
    const unsigned char* nodes;  // [n_blocks][4][64]
    const PackedFeature* features;  // by Forest::numeric_features
    const PackedCategories* categories;  // by Forest::category_features
    const std::uint32_t* column_nodes;   // [category columns + 1] first of nodes_of_column, for features without masks
    const std::uint32_t* nodes_of_column;  // block * 64 + bit of the masks
};

// Scratch of one call, 64-byte aligned.
struct PackedScratch {
    unsigned char* bytes;      // [kMostPackedRows][kMostByteColumns]
    std::uint64_t* masks;  // [kMostPackedRows][n_blocks]
    double* leaf_of_tree;  // [n_trees]
};

}  // namespace mlrf
