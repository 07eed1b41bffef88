// The body of level_*.cpp, which set MLRF_LEVEL and MLRF_VECTOR_BYTES and are compiled for that instruction set.
#include "level.hpp"
#include "ranks.hpp"
#include "rule_checks.hpp"
#include "shap.hpp"
#include "shap_background.hpp"
#include "shap_block.hpp"
#include "shap_pairs.hpp"
#include "shap_row.hpp"
#include "sweep.hpp"
#include "table_row.hpp"
#include "walk.hpp"

namespace mlrf::MLRF_LEVEL {

template <typename Column>
void fill_row(const Forest& f, const void* values, bool is_float32, void* columns) {
    Column* out = static_cast<Column*>(columns);
    if (is_float32)
        fill_columns<Column>(f, static_cast<const float*>(values), out, 1);
    else
        fill_columns<Column>(f, static_cast<const double*>(values), out, 1);
}

static void score_row(const Forest& f, const void* values, bool is_float32, void* columns, double* leaf_of_tree,
                      double* margins) {
    if (f.is_wide) {
        fill_row<std::uint32_t>(f, values, is_float32, columns);
        walk_trees<WideNode>(f, static_cast<const std::uint32_t*>(columns), leaf_of_tree);
    } else {
        fill_row<std::uint16_t>(f, values, is_float32, columns);
        walk_trees<NarrowNode>(f, static_cast<const std::uint16_t*>(columns), leaf_of_tree);
    }
    add_leaves(f, leaf_of_tree, margins);
}

static void score_symmetric_row(const Forest& f, const SymmetricTrees& symmetric, const void* values, bool is_float32, void* columns,
                                double* leaf_of_tree, double* margins) {
    fill_row<std::uint16_t>(f, values, is_float32, columns);
    find_symmetric_leaves(f, symmetric.first_level, symmetric.row_levels, static_cast<const std::uint16_t*>(columns), leaf_of_tree);
    add_leaves(f, leaf_of_tree, margins);
}

template <typename Node, typename Column, typename Value>
void walk_block_in(const Forest& f, const Value* values, unsigned n_rows, const WalkScratch& scratch, double* margins) {
    Column* group = static_cast<Column*>(scratch.columns);
    for (std::size_t first = 0; first < n_rows; first += kRowLanes, group += f.n_columns * kRowLanes) {
        const std::size_t lanes = n_rows - first < kRowLanes ? n_rows - first : kRowLanes;
        fill_column_lanes<Column>(f, values + first * f.n_inputs, lanes, group);
    }
    walk_block<Node>(f, static_cast<const Column*>(scratch.columns), scratch.depth_of_tree, n_rows, margins);
}

template <typename Value>
void walk_block_of(const Forest& f, const Value* values, unsigned n_rows, const WalkScratch& scratch, double* margins) {
    if (f.is_wide)
        walk_block_in<WideNode, std::uint32_t>(f, values, n_rows, scratch, margins);
    else
        walk_block_in<NarrowNode, std::uint16_t>(f, values, n_rows, scratch, margins);
}

static void walk_rows(const Forest& f, const void* values, bool is_float32, unsigned n_rows, const WalkScratch& scratch,
                      double* margins) {
    if (is_float32)
        walk_block_of(f, static_cast<const float*>(values), n_rows, scratch, margins);
    else
        walk_block_of(f, static_cast<const double*>(values), n_rows, scratch, margins);
}

static void prepare_sweep(const Forest& f, const SweepScratch& scratch) {
    if (f.sweep_lane_bytes == 1)
        prepare_slots<std::int8_t>(f, scratch);
    else
        prepare_slots<std::int16_t>(f, scratch);
}

template <typename Lane>
void score_blocks_in(const Forest& f, const RankedTables* tables, const void* values, bool is_float32, std::size_t n_rows,
                     const SweepScratch& scratch, double* margins) {
    if (is_float32)
        score_blocks_of<Lane>(f, tables, static_cast<const float*>(values), n_rows, scratch, margins);
    else
        score_blocks_of<Lane>(f, tables, static_cast<const double*>(values), n_rows, scratch, margins);
}

static void score_blocks(const Forest& f, const RankedTables* tables, const void* values, bool is_float32, std::size_t n_rows,
                         const SweepScratch& scratch, double* margins) {
    if (f.sweep_lane_bytes == 1)
        score_blocks_in<std::int8_t>(f, tables, values, is_float32, n_rows, scratch, margins);
    else
        score_blocks_in<std::int16_t>(f, tables, values, is_float32, n_rows, scratch, margins);
}

template <typename Lane>
void score_rows_in(const Forest& f, const RankedTables& tables, const SymmetricTrees& symmetric, const void* values, bool is_float32,
                   std::size_t n_rows, const TableRowScratch& scratch, double* margins) {
    if (is_float32)
        score_rows_of_tables<Lane>(f, tables, symmetric, static_cast<const float*>(values), n_rows, scratch, margins);
    else
        score_rows_of_tables<Lane>(f, tables, symmetric, static_cast<const double*>(values), n_rows, scratch, margins);
}

static void score_table_rows(const Forest& f, const RankedTables& tables, const SymmetricTrees& symmetric, const void* values,
                             bool is_float32, std::size_t n_rows, const TableRowScratch& scratch, double* margins) {
    if (f.sweep_lane_bytes == 1)
        score_rows_in<std::int8_t>(f, tables, symmetric, values, is_float32, n_rows, scratch, margins);
    else
        score_rows_in<std::int16_t>(f, tables, symmetric, values, is_float32, n_rows, scratch, margins);
}

template <typename Lane>
void rank_values_in(const Forest& f, const NumericFeature& feature, const float* values, std::size_t stride, std::size_t n,
                    void* lanes) {
    RankedValues<Lane> ranked;
    fill_numeric_feature<Lane>(f, feature, values, stride, n, ranked, static_cast<Lane*>(lanes), nullptr);
}

static void rank_values(const Forest& f, const NumericFeature& feature, const float* values, std::size_t stride, std::size_t n,
                        void* lanes) {
    if (f.sweep_lane_bytes == 1)
        rank_values_in<std::int8_t>(f, feature, values, stride, n, lanes);
    else
        rank_values_in<std::int16_t>(f, feature, values, stride, n, lanes);
}

static void explain_one(const Forest& f, const ShapLayout& layout, const void* values, bool is_float32, const ExplainScratch& scratch,
                        double* contributions) {
    if (f.is_wide) {
        fill_row<std::uint32_t>(f, values, is_float32, scratch.columns);
        explain_one_row<std::uint32_t>(f, layout, static_cast<const std::uint32_t*>(scratch.columns), scratch, contributions);
        return;
    }
    fill_row<std::uint16_t>(f, values, is_float32, scratch.columns);
    const std::uint16_t* columns = static_cast<const std::uint16_t*>(scratch.columns);
    if (layout.is_short)
        explain_one_row<std::uint16_t>(f, layout, columns, scratch, contributions);
    else
        explain_one_row<std::uint32_t>(f, layout, columns, scratch, contributions);
}

template <typename Index, typename Column>
void explain_several_in(const Forest& f, const ShapLayout& layout, const void* values, bool is_float32, std::size_t n_rows,
                        const ExplainedRowsScratch& scratch, double* contributions) {
    if (is_float32)
        explain_rows_together<Index, Column>(f, layout, static_cast<const float*>(values), n_rows, scratch, contributions);
    else
        explain_rows_together<Index, Column>(f, layout, static_cast<const double*>(values), n_rows, scratch, contributions);
}

static void explain_several(const Forest& f, const ShapLayout& layout, const void* values, bool is_float32, std::size_t n_rows,
                            const ExplainedRowsScratch& scratch, double* contributions) {
    if (layout.is_short)
        explain_several_in<std::uint16_t, std::uint16_t>(f, layout, values, is_float32, n_rows, scratch, contributions);
    else
        explain_several_in<std::uint32_t, std::uint32_t>(f, layout, values, is_float32, n_rows, scratch, contributions);
}

static void explain_one_pairs(const Forest& f, const PairPaths& paths, const void* values, bool is_float32, const ShapScratch& scratch,
                              const PairScratch& pairs, double* contributions, double* interactions) {
    if (f.is_wide) {
        fill_row<std::uint32_t>(f, values, is_float32, scratch.columns);
        explain_pairs(f, paths, static_cast<const std::uint32_t*>(scratch.columns), scratch, pairs, contributions, interactions);
    } else {
        fill_row<std::uint16_t>(f, values, is_float32, scratch.columns);
        explain_pairs(f, paths, static_cast<const std::uint16_t*>(scratch.columns), scratch, pairs, contributions, interactions);
    }
}

static void fill_columns_of_row(const Forest& f, const void* values, bool is_float32, void* columns) {
    if (f.is_wide)
        fill_row<std::uint32_t>(f, values, is_float32, columns);
    else
        fill_row<std::uint16_t>(f, values, is_float32, columns);
}

template <typename Column>
void explain_against_in(const Forest& f, const BackgroundTable& table, const void* values, bool is_float32, unsigned n_rows,
                        const BackgroundScratch& scratch, double* contributions) {
    if (is_float32)
        explain_background<Column>(f, table, static_cast<const float*>(values), n_rows, scratch, contributions);
    else
        explain_background<Column>(f, table, static_cast<const double*>(values), n_rows, scratch, contributions);
}

static void explain_against(const Forest& f, const BackgroundTable& table, const void* values, bool is_float32, unsigned n_rows,
                            const BackgroundScratch& scratch, double* contributions) {
    if (f.is_wide)
        explain_against_in<std::uint32_t>(f, table, values, is_float32, n_rows, scratch, contributions);
    else
        explain_against_in<std::uint16_t>(f, table, values, is_float32, n_rows, scratch, contributions);
}

// Measured on 14 models of 2,000 to 130,000 nodes (ADR 27).
#if MLRF_VECTOR_BYTES == 64
constexpr double kNodeSteps = 1.8, kTreeSteps = 80;
#elif MLRF_VECTOR_BYTES == 32
constexpr double kNodeSteps = 2.4, kTreeSteps = 95;
#else
constexpr double kNodeSteps = 4.8, kTreeSteps = 140;
#endif

const Level& table(const char* name) {
    static const Level level = {name, MLRF_VECTOR_BYTES, kNodeSteps, kTreeSteps, score_row, score_symmetric_row, walk_rows, prepare_sweep, score_blocks,
                                score_table_rows, rank_values, first_uncertain_row, explain_one, explain_several, explain_one_pairs, fill_columns_of_row,
                                explain_against, nullptr, 0, 0};
    return level;
}

}  // namespace mlrf::MLRF_LEVEL
