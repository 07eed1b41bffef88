// Scratch memory of one call: plain pointers, so that files compiled for one instruction set may use them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "format.hpp"

namespace mlrf {

constexpr std::size_t kSweepBytes = 128;    // of one column of a sweep block
constexpr std::size_t kTableBlocks = 32;    // sweep blocks that are looked up together, table by table, at most
constexpr std::size_t kRowLanes = 16;       // rows that go through a tree in lockstep
constexpr std::size_t kWalkBlockRows = 64;  // rows walked together, at most
constexpr std::size_t kMostLanes = 8;       // quadrature nodes that go through a tree together, at most

// For rows that are walked in blocks.
struct WalkScratch {
    void* columns;  // [groups][n_columns][kRowLanes] of 2 (wide: 4) bytes
    const std::uint32_t* depth_of_tree;
};

// A level of a symmetric tree: column and rank as those of a sweep node, or of a walk node.
struct SymmetricLevel {
    std::uint16_t column;
    std::int16_t rank;
};
struct SymmetricRowLevel {
    std::uint16_t column;
    std::uint16_t rank;
};

// The levels of each tree from the root down; none for a tree that is not symmetric, or a leaf.
struct SymmetricTrees {
    const std::uint32_t* first_level;  // [T + 1]
    const SymmetricLevel* levels;
    const SymmetricRowLevel* row_levels;
};

// A table's columns of a sweep, of which each feature that it computes may have several. Its keys are in a hash table of their own
// with linear probing; free slots hold `free_key`, which is not a key of the table, and the lanes of a key that is not found.
// `has_cells` if it is one of RankedTables::direct as well.
struct RankedTable {
    std::uint64_t free_key;
    std::size_t first_slot;      // of RankedTables::keys: [2^slot_bits]
    std::size_t first_lane;      // of RankedTables::lanes: [2^slot_bits + 1][n_columns], last those of a row without a key
    std::uint32_t slot_bits;
    std::uint32_t first_column;  // of RankedTables::columns
    std::uint32_t n_columns;
    bool has_cells;
};

// A table by direct addressing: a cell of n_columns lanes for every combination of codes and conditions. Each part of its key adds
// its own stride, in lanes, times the row's code (n_codes for a row without a category), or 1 where its condition holds.
struct DirectTable {
    std::size_t first_lane;  // of RankedTables::cells
    std::uint32_t n_parts;
    std::uint32_t n_columns;
};

struct DirectPart {
    std::uint32_t term;  // its hashed feature, or the number of hashed features + its condition
    std::uint32_t stride;
};

// The look-up tables of a swept forest, with ranks in the place of values; see ranked_tables.hpp.
struct RankedTables {
    const RankedTable* tables;
    const std::uint32_t* searched;  // all tables with columns, first the n_without_cells
    std::size_t n_searched;
    std::size_t n_without_cells;
    const DirectTable* direct;      // ascending by numbers of parts and columns: the same again is predicted
    std::size_t n_direct;
    const DirectPart* parts;        // of `direct`, table by table
    const std::uint32_t* direct_columns;  // likewise: which column of the forest each is
    const void* cells;
    const std::uint64_t* keys;
    const std::uint32_t* columns;   // which column of the forest each is
    const void* lanes;
    const std::uint32_t* operands;  // of each part of a key: its hashed feature, or its condition
    const KeyPart* conditions;      // the distinct conditions of all keys, ascending by kind and source
    std::size_t n_conditions;
    std::size_t n_given;            // numeric features that are given, before those that are computed
};

// For looking up the tables of several blocks: all [block][..][kSweepBytes], for the rows of each block.
// Of a row alone there is one row in the place of kSweepBytes.
struct KeyScratch {
    std::uint32_t* hashes;      // by hashed feature
    std::uint32_t* codes;       // likewise: n_codes for a row without a category
    std::uint64_t* parts;       // likewise: the hash as it goes into a key
    unsigned char* has_hash;    // likewise
    unsigned char* is_unlisted; // of a row: whether a category has a hash and no code
    std::int8_t* flags;         // by condition
};

// For rows alone of a forest with look-up tables; 64-byte aligned.
struct TableRowScratch {
    KeyScratch keys;
    std::uint32_t* terms;        // [hashed features + conditions]: DirectPart::term
    std::uint16_t* given;        // [n_columns + 15] columns of the values that are given
    std::int16_t* columns;       // [n_columns] as sweep lanes, of two bytes each
    double* leaf_of_tree;        // [T]
};

// All 64-byte aligned.
struct SweepScratch {
    std::size_t n_blocks;       // swept together
    void* columns;              // [n_blocks][n_sweep_columns][kSweepBytes]; of a forest with look-up tables [kTableBlocks]..
    void* slots;                // [2 * max_leaves][kSweepBytes]: leaf numbers, downward from the middle, then nodes, upward
    void* code_rows;            // [rows + 1][kSweepBytes]: 1 in the rows that hold a code, first the code that no row holds
    unsigned char* code_slots;  // [category codes], zeroed: where in code_rows a code of this block is, 0 if nowhere
    double* sums;               // [n_blocks][K][rows]
    SymmetricTrees symmetric;
    KeyScratch keys;
};

// Nodes and weights of one Gauss-Legendre rule on [0, 1], padded with weight 0 to a multiple of 8.
struct Quadrature {
    const double* at;
    const double* weight;
};

// For contributions, over the slots of a ShapLayout; all 64-byte aligned.
struct ExplainScratch {
    const Quadrature* rules;  // by number of nodes; those that the forest names are filled
    double* slots;            // [most_slots][kMostLanes]
    double* seen_terms;       // [most_seen_upper][kMostLanes] g of upper nodes whose features appeared before
    double* sums;             // [K * U][kMostLanes]
    std::uint8_t* ways;       // [most_nodes]
    void* columns;            // [n_columns]
};

// For contributions of several rows, over the slots of a ShapLayout; all 64-byte aligned.
constexpr std::size_t kExplainedRows = 8;   // rows explained together, as many as a byte has bits
constexpr std::size_t kMostVisitNodes = 3;  // quadrature nodes of such rows that go through a tree together, at most
struct ExplainedRowsScratch {
    const Quadrature* rules;
    double* slots;             // [most_slots][kMostVisitNodes][kExplainedRows]
    double* moves;             // [kMostVisitNodes][most_seen] t / F of nodes whose features appeared before
    double* factors;           // likewise: R / F^2
    double* sums;              // [kMostLanes][K * U][kExplainedRows]
    std::uint8_t* left;        // [most_nodes] a bit for each row that goes left
    std::uint8_t* counted;     // [most_nodes] a bit for each row that no earlier split on the feature excludes
    std::uint8_t* categories;  // [category columns] a bit for each row that goes left
    void* columns;             // [numeric columns][kExplainedRows]
};

// For interactions; all 64-byte aligned; `lanes` are those of the level.
struct ShapScratch {
    const Quadrature* rules;
    double* weight;  // [max_shap_slots][lanes] P on the way down, then the factor of a node's sum
    double* value;   // [max_shap_slots][lanes] G
    double* share;   // [max_shap_nodes][lanes] g
    double* delta;   // [max_shap_nodes][lanes] d
    double* spent;   // [2 * max_shap_nodes] Z after going left, after going right
    double* sums;    // [K * U][lanes]
    void* columns;   // [n_columns]
};

// A split above a node, on another feature than the node's: the nearest one of its feature.
struct PairedEdge {
    std::uint32_t edge;  // 2 * node + (1 if the path goes right), within the chunk
    std::uint32_t pair;  // index of the sum of both features
};

// The splits above every node.
struct PairPaths {
    const std::uint32_t* first_edge;  // [nodes of all chunks + 1]
    const PairedEdge* edges;
    std::size_t n_pairs;
};

// Of one explained row, besides ShapScratch; 64-byte aligned.
struct PairScratch {
    double* edges;  // [2 * max_shap_nodes][lanes] A of each node's left and right edge
    double* sums;   // [n_pairs][lanes]
};

// The most players on a path that a background can explain: a bit of a word for each.
constexpr std::uint32_t kMostPlayers = 32;
constexpr std::size_t kBackgroundRows = 16;  // rows explained against a background together, at most

// The players of a leaf's path all of whose tests a row passes, and how many rows of the background pass exactly these.
struct Pattern {
    std::uint32_t passed;
    std::uint32_t count;
};

// What a background and its forest give; see games/background.cpp.
struct BackgroundTable {
    const std::uint8_t* bits;            // [nodes] of a node's player on its path
    const std::uint32_t* first_player;   // [leaves + 1]
    const std::uint32_t* players;        // sums, as of ShapNode, in the order of their bits
    const std::uint32_t* first_pattern;  // [leaves + 1]
    const Pattern* patterns;
    const std::uint32_t* passed_by_any;  // [leaves] players that some row of the background passes
    const double* weights;               // [kMostPlayers + 1][2][kMostPlayers + 1]
    std::size_t n_rows;
};

// 64-byte aligned.
struct BackgroundScratch {
    void* columns;  // [kBackgroundRows][row_columns]
    std::size_t row_columns;
    std::uint32_t* failed;  // [max_shap_slots]
    double* sums;           // [kBackgroundRows][K * U]
};

}  // namespace mlrf
