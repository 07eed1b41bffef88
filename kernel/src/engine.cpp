#include "engine.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine_scratch.hpp"
#include "pieces.hpp"
#include "tables.hpp"

namespace mlrf {
namespace {

// Starting a thread costs some 30 us: what a thread must have to do before another is worth it.
constexpr std::size_t kScoredRowsPerThread = 512;
constexpr std::size_t kExplainedRowsPerThread = 16;

// Memory that the columns and sums of one explained block may take.
constexpr std::size_t kExplainBlockBytes = std::size_t{64} << 20;

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

// What a float32 sum rounds away is no feature's own: it goes to a row's contributions [F][K] in proportion to their size, so that
// they and the base give the margin that is served. Contributions of nothing but zeros share it evenly.
void settle_rounding(const Forest& f, const double* margins, double* contributions) {
    for (std::size_t k = 0; k < f.n_outputs; ++k) {
        double sum = 0.0, size = 0.0;
        for (std::size_t u = 0; u < f.shap_features.count; ++u) {
            const double phi = contributions[std::size_t{f.shap_features[u]} * f.n_outputs + k];
            sum += phi;
            size += std::fabs(phi);
        }
        const double rest = margins[k] - (f.expected[k] + sum);
        if (!std::isfinite(rest) || rest == 0.0) continue;
        for (std::size_t u = 0; u < f.shap_features.count; ++u) {
            double& phi = contributions[std::size_t{f.shap_features[u]} * f.n_outputs + k];
            phi += size > 0.0 ? rest * (std::fabs(phi) / size) : rest / static_cast<double>(f.shap_features.count);
        }
    }
}

}  // namespace

Engine::Engine(const std::string& path, const char* level)
    : mapping_(path),
      forest_(check_forest(mapping_.bytes(), mapping_.size_bytes())),
      level_(choose_level(level)),
      rules_(forest_),
      symmetric_(forest_),
      packed_(level_.score_packed != nullptr ? PackedForest::pack(forest_) : nullptr),
      depth_of_tree_(forest_.n_trees) {
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
    const auto scratch = rows_.take([&] { return std::make_unique<RowScratch>(forest_); });
    fill_inputs(forest_, values, is_float32, 1, scratch->lookup, scratch->inputs.data());
    score_few(Rows{scratch->inputs.data(), false, 1}, margins);
}

void Engine::require_constant_leaves() const {
    if (forest_.linear_leaves.count > 0) throw std::invalid_argument("a forest with linear leaves has no contributions");
}

void Engine::contributions(const void* values, bool is_float32, double* contributions) const {
    require_constant_leaves();
    if (forest_.tables.count > 0) {
        const auto scratch = shares_.take([&] { return std::make_unique<ShareScratch>(forest_); });
        fill_inputs(forest_, values, is_float32, 1, scratch->lookup, scratch->inputs.data());
        contributions_of_inputs(Rows{scratch->inputs.data(), false, 1}, 1, scratch->contributions.data());
        share_groups(forest_, scratch->contributions.data(), contributions);
        return;
    }
    contributions_of_inputs(Rows{values, is_float32, 1}, 1, contributions);
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
    run_pieces(rows.n_rows, input_block_rows(f.n_inputs), kScoredRowsPerThread, threads, [&](std::size_t first, std::size_t end) {
        const auto scratch = inputs_.take([&] { return std::make_unique<InputScratch>(f); });
        for (std::size_t row = first; row < end; row += scratch->block_rows) {
            const std::size_t n = std::min(scratch->block_rows, end - row);
            fill_inputs(f, given_row_at(f, rows, row), rows.is_float32, n, scratch->lookup, scratch->inputs.data());
            margins_of_inputs(Rows{scratch->inputs.data(), false, n}, 1, margins + row * f.n_outputs);
        }
    });
}

void Engine::contributions_many(const Rows& rows, unsigned threads, double* contributions) const {
    require_constant_leaves();
    const Forest& f = forest_;
    if (f.tables.count == 0) {
        contributions_of_inputs(rows, threads, contributions);
        return;
    }
    const std::size_t block = input_block_rows(std::size_t{f.n_inputs} * (std::size_t{f.n_outputs} + 1));
    run_pieces(rows.n_rows, block, kExplainedRowsPerThread, threads, [&](std::size_t first, std::size_t end) {
        const auto scratch = shares_.take([&] { return std::make_unique<ShareScratch>(f); });
        for (std::size_t row = first; row < end; row += scratch->block_rows) {
            const std::size_t n = std::min(scratch->block_rows, end - row);
            fill_inputs(f, given_row_at(f, rows, row), rows.is_float32, n, scratch->lookup, scratch->inputs.data());
            contributions_of_inputs(Rows{scratch->inputs.data(), false, n}, 1, scratch->contributions.data());
            for (std::size_t i = 0; i < n; ++i)
                share_groups(f, scratch->contributions.data() + i * f.n_inputs * f.n_outputs,
                             contributions + (row + i) * f.n_features * f.n_outputs);
        }
    });
}

void Engine::margins_of_inputs(const Rows& rows, unsigned threads, double* margins) const {
    const Forest& f = forest_;
    if (f.sweep_lane_bytes == 0) {
        walked_margins(rows, threads, margins);
        return;
    }
    const std::size_t block_rows = kSweepBytes / f.sweep_lane_bytes;
    // A sweep costs the same for one row as for a block, so fewer rows are scored one by one, or four by four: up to as many as take
    // longer than a block (ADR 19). Sweeps in lanes of two bytes are slower than packed trees at any number of rows.
    std::size_t least_swept = block_rows / 6;
    if (packed_ && f.sweep_lane_bytes == 2)
        least_swept = rows.n_rows + 1;
    else if (packed_)
        least_swept = symmetric_.holds_all() ? block_rows * 3 / 8 : block_rows * 3 / 4;
    else if (symmetric_.holds_all())
        least_swept = block_rows / 10;
    run_pieces(rows.n_rows, block_rows, kScoredRowsPerThread, threads, [&](std::size_t first, std::size_t end) {
        std::size_t row = first;
        if (end - row >= least_swept) {
            const auto scratch = blocks_.take([&] {
                auto made = std::make_unique<BlockScratch>(f, block_rows, symmetric_.view());
                level_.prepare_sweep(f, made->view);
                return made;
            });
            while (row < end && end - row >= least_swept) {
                const std::size_t n = std::min(block_rows, end - row);
                level_.score_block(f, row_at(f, rows, row), rows.is_float32, static_cast<unsigned>(n), scratch->view,
                                   margins + row * f.n_outputs);
                row += n;
            }
        }
        if (row < end) score_few(Rows{row_at(f, rows, row), rows.is_float32, end - row}, margins + row * f.n_outputs);
    });
}

// Rows of inputs that are too few to be scored in blocks.
void Engine::score_few(const Rows& rows, double* margins) const {
    const Forest& f = forest_;
    if (packed_) {
        const auto scratch = packed_rows_.take([&] { return std::make_unique<PackedRowsScratch>(packed_->view()); });
        level_.score_packed(f, packed_->view(), rows.values, rows.is_float32, rows.n_rows, scratch->view, margins);
        return;
    }
    const auto scratch = rows_.take([&] { return std::make_unique<RowScratch>(f); });
    for (std::size_t row = 0; row < rows.n_rows; ++row)
        level_.score_row(f, row_at(f, rows, row), rows.is_float32, scratch->columns.data(), scratch->leaf_of_tree.data(),
                         margins + row * f.n_outputs);
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

void Engine::contributions_of_inputs(const Rows& rows, unsigned threads, double* contributions) const {
    const Forest& f = forest_;
    if (rows.n_rows == 1) {
        const auto scratch = explained_rows_.take([&] { return std::make_unique<ExplainScratch>(f, level_, rules_, 1); });
        level_.explain_row(f, rows.values, rows.is_float32, scratch->view, contributions);
        if (!f.sums_in_float32) return;
        std::vector<double> settled(f.n_outputs);
        margins_of_inputs(rows, 1, settled.data());
        settle_rounding(f, settled.data(), contributions);
        return;
    }
    const std::size_t lanes = level_.vector_bytes / sizeof(double);
    const std::size_t row_size = std::size_t{f.n_inputs} * f.n_outputs;
    const std::size_t group_bytes =
        lanes * (f.n_columns * column_bytes(f) + f.n_outputs * f.shap_features.count * sizeof(double));
    const std::size_t n_groups = std::max<std::size_t>(1, std::min(kShapBlockRows / lanes, kExplainBlockBytes / group_bytes));
    const std::size_t block_rows = n_groups * lanes;
    run_pieces(rows.n_rows, block_rows, kExplainedRowsPerThread, threads, [&](std::size_t first, std::size_t end) {
        const auto scratch =
            explained_blocks_.take([&] { return std::make_unique<ExplainScratch>(f, level_, rules_, n_groups); });
        for (std::size_t row = first; row < end; row += block_rows) {
            const std::size_t n = std::min(block_rows, end - row);
            level_.explain_block(f, row_at(f, rows, row), rows.is_float32, static_cast<unsigned>(n), scratch->view,
                                 contributions + row * row_size);
        }
        if (!f.sums_in_float32) return;
        std::vector<double> settled((end - first) * f.n_outputs);
        margins_of_inputs(Rows{row_at(f, rows, first), rows.is_float32, end - first}, 1, settled.data());
        for (std::size_t row = first; row < end; ++row)
            settle_rounding(f, settled.data() + (row - first) * f.n_outputs, contributions + row * row_size);
    });
}

}  // namespace mlrf
