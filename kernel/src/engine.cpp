#include "engine.hpp"

#include <algorithm>
#include <vector>

#include "engine_scratch.hpp"
#include "pieces.hpp"
#include "tables.hpp"

namespace mlrf {
namespace {

// Starting a thread costs some 30 us, so another thread pays off only for at least this much work.
constexpr std::size_t kScoredRowsPerThread = 512;

// Fewer rows walk one by one: sixteen lanes for seven rows are slower than sixteen trees for one.
constexpr std::size_t kLeastWalkedTogether = 8;

// Columns of category sets that are set one by one, lane by lane.
constexpr std::size_t kMostScatteredColumns = 512;

// Memory that the columns of a walked block may take: they and a tree must stay near.
constexpr std::size_t kWalkBlockBytes = std::size_t{128} << 10;

const void* row_at(const Forest& f, const Rows& rows, std::size_t row) {
    const std::size_t value_bytes = rows.is_float32 ? sizeof(float) : sizeof(double);
    return static_cast<const unsigned char*>(rows.values) + row * f.n_inputs * value_bytes;
}

const void* given_row_at(const Forest& f, const Rows& rows, std::size_t row) {
    const std::size_t value_bytes = rows.is_float32 ? sizeof(float) : sizeof(double);
    return static_cast<const unsigned char*>(rows.values) + row * f.n_features * value_bytes;
}

}  // namespace

Engine::Engine(const std::string& path, const char* level)
    : mapping_(path),
      forest_(check_forest(mapping_.bytes(), mapping_.size_bytes())),
      level_(choose_level(level)),
      threshold_trees_(forest_),
      symmetric_(forest_),
      packed_(level_.score_packed != nullptr ? PackedForest::pack(forest_, level_.most_byte_columns) : nullptr),
      ranked_tables_(RankedTableStorage::rank(forest_, level_)),
      depth_of_tree_(forest_.n_trees),
      least_swept_(least_swept_rows()),
      explainer_(std::make_unique<const Explainer>(*this, forest_, file_shares(forest_))) {
    for (std::size_t i = 0; i < forest_.walk_trees.count; ++i)
        depth_of_tree_[forest_.walk_trees[i].tree] = forest_.walk_trees[i].depth;
}

Engine::~Engine() = default;

void Engine::margin(const void* values, bool is_float32, double* margins) const {
    if (forest_.is_plain) {
        score_few(Rows{values, is_float32, 1}, margins);
        return;
    }
    if (forest_.linear_leaves.count > 0) {
        linear_margins(Rows{values, is_float32, 1}, 1, margins);
        return;
    }
    if (scores_table_rows()) {
        table_row_margins(Rows{values, is_float32, 1}, margins);
        return;
    }
    const auto scratch = rows_.take([&] { return std::make_unique<RowScratch>(forest_); });
    fill_inputs(forest_, values, is_float32, 1, scratch->lookup, scratch->inputs.data());
    score_few(Rows{scratch->inputs.data(), false, 1}, margins);
}

void Engine::margins(const Rows& rows, unsigned threads, double* margins) const {
    const Forest& f = forest_;
    if (f.is_plain) {
        margins_of_inputs(rows, threads, margins);
        return;
    }
    if (f.linear_leaves.count > 0) {
        linear_margins(rows, threads, margins);
        return;
    }
    const std::size_t block_rows = ranked_tables_ ? kSweepBytes / f.sweep_lane_bytes : input_block_rows(f.n_inputs);
    run_pieces(rows.n_rows, block_rows, kScoredRowsPerThread, threads, [&](std::size_t first, std::size_t end) {
        const Rows piece{given_row_at(f, rows, first), rows.is_float32, end - first};
        const std::size_t n_swept = ranked_tables_ ? swept_rows(piece.n_rows) : 0;
        if (n_swept > 0) sweep_rows(Rows{piece.values, piece.is_float32, n_swept}, &ranked_tables_->view(), margins + first * f.n_outputs);
        looked_up_margins(Rows{given_row_at(f, piece, n_swept), piece.is_float32, piece.n_rows - n_swept},
                          margins + (first + n_swept) * f.n_outputs);
    });
}

// Margins of rows as they are given, one by one.
void Engine::table_row_margins(const Rows& rows, double* margins) const {
    const RankedTables& tables = ranked_tables_->view();
    const auto scratch = looked_up_rows_.take([&] { return std::make_unique<LookedUpRowScratch>(forest_, tables); });
    level_.score_table_rows(forest_, tables, symmetric_.view(), rows.values, rows.is_float32, rows.n_rows, scratch->view, margins);
}

// Margins of rows as they are given: their tables are looked up first.
void Engine::looked_up_margins(const Rows& rows, double* margins) const {
    const Forest& f = forest_;
    if (rows.n_rows == 0) return;
    if (scores_table_rows()) {
        table_row_margins(rows, margins);
        return;
    }
    const auto scratch = inputs_.take([&] { return std::make_unique<InputScratch>(f); });
    for (std::size_t row = 0; row < rows.n_rows; row += scratch->block_rows) {
        const std::size_t n = std::min(scratch->block_rows, rows.n_rows - row);
        fill_inputs(f, given_row_at(f, rows, row), rows.is_float32, n, scratch->lookup, scratch->inputs.data());
        margins_of_inputs(Rows{scratch->inputs.data(), false, n}, 1, margins + row * f.n_outputs);
    }
}

void Engine::margins_of_inputs(const Rows& rows, unsigned threads, double* margins) const {
    const Forest& f = forest_;
    if (f.sweep_lane_bytes == 0) {
        walked_margins(rows, threads, margins);
        return;
    }
    run_pieces(rows.n_rows, kSweepBytes / f.sweep_lane_bytes, kScoredRowsPerThread, threads, [&](std::size_t first, std::size_t end) {
        const Rows piece{row_at(f, rows, first), rows.is_float32, end - first};
        const std::size_t n_swept = swept_rows(piece.n_rows);
        if (n_swept > 0) sweep_rows(Rows{piece.values, piece.is_float32, n_swept}, nullptr, margins + first * f.n_outputs);
        if (n_swept < piece.n_rows)
            score_few(Rows{row_at(f, piece, n_swept), piece.is_float32, piece.n_rows - n_swept}, margins + (first + n_swept) * f.n_outputs);
    });
}

// A sweep costs the same for one row as for a block, so fewer rows are scored one by one, or four by four: up to as many as take
// longer than a block (ADR 19, ADR 27).
std::size_t Engine::least_swept_rows() const {
    const Forest& f = forest_;
    if (f.sweep_lane_bytes == 0) return 0;
    const std::size_t block_rows = kSweepBytes / f.sweep_lane_bytes;
    if (packed_) {
        const std::size_t least = kSweepBytes * level_.packed_sixteenths / 16;
        // At level vbmi, sweeps in lanes of two bytes are slower than packed trees at any number of rows.
        if (least > block_rows) return block_rows + 1;
        return symmetric_.holds_all() ? least / 2 : least;
    }
    if (ranked_tables_) return symmetric_.holds_all() ? block_rows / 16 : block_rows / 6;
    std::size_t n_steps = 0;
    for (std::size_t i = 0; i < f.walk_trees.count; ++i) n_steps += f.walk_trees[i].depth;
    const std::size_t n_nodes = symmetric_.holds_all() ? symmetric_.n_levels() : f.sweep_nodes.count;
    const double block_steps = level_.sweep_node_steps * static_cast<double>(n_nodes) +
                               level_.sweep_tree_steps * static_cast<double>(f.n_trees) / f.sweep_lane_bytes;
    return std::min(block_rows, static_cast<std::size_t>(block_steps / static_cast<double>(std::max<std::size_t>(n_steps, 1))));
}

// How many of n rows, from the first on, are swept in blocks.
std::size_t Engine::swept_rows(std::size_t n_rows) const {
    const std::size_t block_rows = kSweepBytes / forest_.sweep_lane_bytes;
    if (least_swept_ > block_rows) return 0;
    return n_rows % block_rows >= least_swept_ ? n_rows : n_rows - n_rows % block_rows;
}

// Sweep rows in blocks: as they are given, with `tables`, and else those whose tables have been looked up.
void Engine::sweep_rows(const Rows& rows, const RankedTables* tables, double* margins) const {
    const Forest& f = forest_;
    const std::size_t block_rows = kSweepBytes / f.sweep_lane_bytes;
    const auto scratch = blocks_.take([&] {
        const std::size_t n_conditions = ranked_tables_ ? ranked_tables_->view().n_conditions : 0;
        auto made = std::make_unique<BlockScratch>(f, block_rows, symmetric_.view(), n_conditions, ranked_tables_ != nullptr);
        level_.prepare_sweep(f, made->view);
        return made;
    });
    const std::size_t most_rows = (tables != nullptr ? kTableBlocks : scratch->n_blocks) * block_rows;
    for (std::size_t row = 0; row < rows.n_rows; row += most_rows) {
        const std::size_t n = std::min(most_rows, rows.n_rows - row);
        const void* values = tables != nullptr ? given_row_at(f, rows, row) : row_at(f, rows, row);
        level_.score_blocks(f, tables, values, rows.is_float32, n, scratch->view, margins + row * f.n_outputs);
    }
}

// Rows of inputs that are too few to be scored in blocks.
void Engine::score_few(const Rows& rows, double* margins) const {
    const Forest& f = forest_;
    if (packed_) {
        const auto scratch = packed_rows_.take([&] { return std::make_unique<PackedRowsScratch>(f, packed_->view()); });
        level_.score_packed(f, packed_->view(), rows.values, rows.is_float32, rows.n_rows, scratch->view, margins);
        return;
    }
    const auto scratch = rows_.take([&] { return std::make_unique<RowScratch>(f); });
    void* columns = scratch->columns.data();
    double* leaf_of_tree = scratch->leaf_of_tree.data();
    for (std::size_t row = 0; row < rows.n_rows; ++row) {
        const void* values = row_at(f, rows, row);
        double* sums = margins + row * f.n_outputs;
        if (symmetric_.holds_all())
            level_.score_symmetric_row(f, symmetric_.view(), values, rows.is_float32, columns, leaf_of_tree, sums);
        else
            level_.score_row(f, values, rows.is_float32, columns, leaf_of_tree, sums);
    }
}

void Engine::walked_margins(const Rows& rows, unsigned threads, double* margins) const {
    const Forest& f = forest_;
    const std::size_t row_bytes = f.n_columns * column_bytes(f);
    const std::size_t n_groups = std::max<std::size_t>(1, std::min(kWalkBlockRows, kWalkBlockBytes / row_bytes) / kRowLanes);
    const std::size_t block_rows = n_groups * kRowLanes;
    // The columns of many category sets are filled faster one row after the other.
    const bool walks_alone = f.category_defaults.count > kMostScatteredColumns;
    const std::size_t least_together = walks_alone ? rows.n_rows + 1 : kLeastWalkedTogether;
    run_pieces(rows.n_rows, block_rows, kScoredRowsPerThread, threads, [&](std::size_t first, std::size_t end) {
        std::size_t row = first;
        if (end - row >= least_together) {
            const auto scratch = walked_blocks_.take(
                [&] { return std::make_unique<WalkedBlockScratch>(f, block_rows, depth_of_tree_.data()); });
            while (end - row >= least_together) {
                const std::size_t n = std::min(block_rows, end - row);
                level_.walk_rows(f, row_at(f, rows, row), rows.is_float32, static_cast<unsigned>(n), scratch->view,
                                 margins + row * f.n_outputs);
                row += n;
            }
        }
        if (row < end) score_few(Rows{row_at(f, rows, row), rows.is_float32, end - row}, margins + row * f.n_outputs);
    });
}

}  // namespace mlrf
