// The functions that are compiled once for each instruction set, behind one table of pointers.
#pragma once

#include "forest.hpp"
#include "packed.hpp"
#include "rule_vectors.hpp"
#include "scratch.hpp"
#include "shap_layout.hpp"

namespace mlrf {

// One instruction set's kernels. `values` are rows of f.n_inputs, float32 where `is_float32`, else float64.
struct Level {
    const char* name;
    unsigned vector_bytes;
    // In how many steps of one row's walks a block of 128 rows is swept past a node, and the leaves of a tree are added.
    double sweep_node_steps;
    double sweep_tree_steps;

    // Margins [K] of one row; columns is scratch [n_columns] of 2 (wide: 4) bytes, leaf_of_tree is scratch [T].
    void (*score_row)(const Forest& f, const void* values, bool is_float32, void* columns, double* leaf_of_tree,
                      double* margins);
    // The same of a row that is not wide; all trees are symmetric.
    void (*score_symmetric_row)(const Forest& f, const SymmetricTrees& symmetric, const void* values, bool is_float32, void* columns,
                                double* leaf_of_tree, double* margins);
    // Margins [n][K] of at most as many rows as the scratch was made for, by walking.
    void (*walk_rows)(const Forest& f, const void* values, bool is_float32, unsigned n_rows, const WalkScratch& scratch,
                      double* margins);
    void (*prepare_sweep)(const Forest& f, const SweepScratch& scratch);
    // Margins [n][K] of at most scratch.n_blocks blocks of rows; with `tables` the rows, of at most kTableBlocks blocks, are as given,
    // [n][n_features], and are looked up first.
    void (*score_blocks)(const Forest& f, const RankedTables* tables, const void* values, bool is_float32, std::size_t n_rows,
                         const SweepScratch& scratch, double* margins);
    // Margins [n][K] of any number of rows as they are given, one by one; all trees are symmetric.
    void (*score_table_rows)(const Forest& f, const RankedTables& tables, const SymmetricTrees& symmetric, const void* values,
                             bool is_float32, std::size_t n_rows, const TableRowScratch& scratch, double* margins);
    // Lanes [feature.n_columns][kSweepBytes] of a sweep for at most a sweep's rows of one feature, values[row * stride].
    void (*rank_values)(const Forest& f, const NumericFeature& feature, const float* values, std::size_t stride, std::size_t n,
                        void* lanes);

    // The first of n rows that is not certainly admitted by the rules of its columns; n if all are.
    std::size_t (*first_uncertain_row)(const RuleVectors& rules, const unsigned char* values, std::size_t n_rows);

    // Contributions [F][K] of one row.
    void (*explain_row)(const Forest& f, const ShapLayout& layout, const void* values, bool is_float32, const ExplainScratch& scratch,
                        double* contributions);
    // Contributions [n][F][K] of at most kExplainedRows rows: those of explain_row, bit for bit.
    void (*explain_rows)(const Forest& f, const ShapLayout& layout, const void* values, bool is_float32, std::size_t n_rows,
                         const ExplainedRowsScratch& scratch, double* contributions);
    // Contributions [F][K] and the interactions [n_pairs] of `paths` of one row.
    void (*explain_pairs)(const Forest& f, const PairPaths& paths, const void* values, bool is_float32, const ShapScratch& scratch,
                          const PairScratch& pairs, double* contributions, double* interactions);
    // Columns of one row; n_columns and up to 15 further ones are written.
    void (*fill_columns)(const Forest& f, const void* values, bool is_float32, void* columns);
    // Contributions [n][n_inputs][K] of at most kBackgroundRows rows against a background.
    void (*explain_background)(const Forest& f, const BackgroundTable& table, const void* values, bool is_float32, unsigned n_rows,
                               const BackgroundScratch& scratch, double* contributions);

    // Margins [n][K] of any number of rows, from packed trees (packed.hpp); nullptr at levels without them.
    void (*score_packed)(const Forest& f, const PackedTrees& trees, const void* values, bool is_float32, std::size_t n_rows,
                         const PackedScratch& scratch, double* margins);
    std::size_t most_byte_columns;  // of packed trees
    std::size_t packed_sixteenths;  // of 128 rows: as many packed rows take as long as a sweep of a block
};

// Each level is in level_NAME.cpp; dispatch.cpp declares them.
// Return the fastest level that this processor supports; the variable MLRF_KERNEL_LEVEL, the name of a level, lowers it, for
// tests. Throws std::invalid_argument for a level that is unknown or not supported by this processor.
const Level& choose_level(const char* requested);

}  // namespace mlrf
