// Interventional Shapley values against a background of rows: a table of the patterns in which these rows pass each leaf's tests.
//
// The table is built once for a background; a row is then explained against all of its rows, none of which is left out.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine.hpp"
#include "engine_scratch.hpp"
#include "forest.hpp"
#include "game.hpp"
#include "leaf_masks.hpp"
#include "level.hpp"
#include "pieces.hpp"
#include "pool.hpp"
#include "shap_paths.hpp"
#include "shares.hpp"
#include "tables.hpp"

namespace mlrf {
namespace {

constexpr std::size_t kBackgroundRowsPerThread = 2;

[[noreturn]] void refuse_size(std::size_t most_bytes) {
    throw TooLargeError("the table of this background takes more than " + std::to_string(most_bytes >> 20) +
                        " MB for this model: it has too many rows or leaves");
}

// Rows with what their tables look up, [n][n_inputs]; empty where the forest has no tables.
std::vector<double> inputs_of(const Forest& f, const Rows& rows) {
    std::vector<double> inputs;
    if (f.tables.count == 0) return inputs;
    const LookupScratch lookup(f);
    inputs.resize(rows.n_rows * f.n_inputs);
    const std::size_t value_bytes = rows.is_float32 ? sizeof(float) : sizeof(double);
    for (std::size_t row = 0; row < rows.n_rows; row += kLookupRows)
        fill_inputs(f, static_cast<const unsigned char*>(rows.values) + row * f.n_features * value_bytes, rows.is_float32,
                    std::min(kLookupRows, rows.n_rows - row), lookup, inputs.data() + row * f.n_inputs);
    return inputs;
}

struct RowsScratch {
    explicit RowsScratch(const Forest& f)
        : row_columns(f.n_columns + kColumnRoom),
          columns(kBackgroundRows * row_columns * column_bytes(f)),
          failed(f.max_shap_slots),
          sums(kBackgroundRows * f.n_outputs * f.shap_features.count),
          contributions(kBackgroundRows * f.n_inputs * f.n_outputs),
          view{columns.data(), row_columns, failed.data(), sums.data()} {}

    std::size_t row_columns;
    Arena<unsigned char> columns;
    Arena<std::uint32_t> failed;
    Arena<double> sums, contributions;
    BackgroundScratch view;
};

class Background final : public Game {
public:
    // Throws std::invalid_argument for no rows, TooLargeError where a path has more than 32 players or the table takes more than
    // `most_bytes`, ForestFileError where nodes are not trees.
    explicit Background(GameInputs given);

    std::size_t n_features() const override { return shares_.n_features; }
    // The mean margin of the background.
    const std::vector<double>& base() const override { return base_; }
    std::size_t size_bytes() const override;
    void contributions_many(const Rows& rows, unsigned threads, double* contributions) const override;

private:
    void list_players(std::size_t most_bytes);
    void list_patterns(const Rows& inputs, std::size_t most_bytes);
    void fill_weights();
    BackgroundTable view() const;

    const Engine& engine_;
    const Forest game_;
    const Shares shares_;
    std::vector<std::uint8_t> bits_;
    std::vector<std::uint32_t> first_player_, players_, first_pattern_, passed_by_any_;
    std::vector<Pattern> patterns_;
    std::vector<double> weights_, base_;
    std::size_t n_rows_;
    mutable Pool<RowsScratch> scratch_;
};

Background::Background(GameInputs given)
    : engine_(given.engine),
      game_(given.trees),
      shares_(std::move(given.shares)),
      base_(given.trees.n_outputs),
      n_rows_(given.rows.n_rows) {
    const Rows& rows = given.rows;
    const std::size_t most_bytes = given.most_bytes;
    if (rows.n_rows == 0) throw std::invalid_argument("a background needs one row or more");
    if (rows.n_rows > 0xFFFFFFFFu) refuse_size(most_bytes);
    const std::vector<double> looked_up = inputs_of(game_, rows);
    const Rows inputs = looked_up.empty() ? rows : Rows{looked_up.data(), false, rows.n_rows};
    list_players(most_bytes);
    list_patterns(inputs, most_bytes);
    fill_weights();
    std::vector<double> margins(rows.n_rows * game_.n_outputs);
    engine_.margins(rows, 1, margins.data());
    for (std::size_t row = 0; row < rows.n_rows; ++row)
        for (std::size_t k = 0; k < game_.n_outputs; ++k) base_[k] += margins[row * game_.n_outputs + k];
    for (double& base : base_) base /= static_cast<double>(rows.n_rows);
}

std::size_t Background::size_bytes() const {
    return bits_.size() + 4 * (first_player_.size() + players_.size() + first_pattern_.size() + passed_by_any_.size()) +
           patterns_.size() * sizeof(Pattern) + 8 * weights_.size();
}

// Give each player of a path a bit, in the order of their first tests, and list the players of each leaf.
void Background::list_players(std::size_t most_bytes) {
    const Forest& f = game_;
    bits_.assign(f.shap_nodes.count, 0);
    for (std::size_t c = 0; c < f.shap_chunks.count; ++c) {
        const ShapChunk& chunk = f.shap_chunks[c];
        const ShapNode* nodes = f.shap_nodes.data + chunk.first_node;
        const std::vector<std::uint32_t> parents = parents_of(f, chunk);
        // The players above each node, and then of each leaf.
        std::vector<std::vector<std::uint32_t>> above(parents.size());
        for (std::size_t slot = 0; slot < parents.size(); ++slot) {
            std::vector<std::uint32_t>& list = above[slot];
            if (parents[slot] != kNoEarlier) {
                list = above[parents[slot] / 2];
                const std::uint32_t sum = nodes[parents[slot] / 2].sum;
                if (std::find(list.begin(), list.end(), sum) == list.end()) list.push_back(sum);
            }
            if (slot < chunk.n_nodes) {
                const auto found = std::find(list.begin(), list.end(), nodes[slot].sum);
                if (found == list.end() && list.size() >= kMostPlayers)
                    throw TooLargeError("a background cannot explain this model: a path of its trees tests more than " +
                                        std::to_string(kMostPlayers) + " different features");
                bits_[chunk.first_node + slot] = static_cast<std::uint8_t>(found - list.begin());
                continue;
            }
            first_player_.push_back(static_cast<std::uint32_t>(players_.size()));
            players_.insert(players_.end(), list.begin(), list.end());
            if (players_.size() * sizeof(std::uint32_t) > most_bytes) refuse_size(most_bytes);
        }
    }
    first_player_.push_back(static_cast<std::uint32_t>(players_.size()));
}

// Count, for each leaf, the rows of the background by the players all of whose tests they pass.
void Background::list_patterns(const Rows& inputs, std::size_t most_bytes) {
    const Forest& f = game_;
    const Level& level = engine_.level();
    const std::size_t row_columns = f.n_columns + kColumnRoom, row_bytes = row_columns * column_bytes(f);
    if (row_bytes > most_bytes / inputs.n_rows) refuse_size(most_bytes);
    Arena<unsigned char> columns(inputs.n_rows * row_bytes);
    const std::size_t value_bytes = f.n_inputs * (inputs.is_float32 ? sizeof(float) : sizeof(double));
    for (std::size_t row = 0; row < inputs.n_rows; ++row)
        level.fill_columns(f, static_cast<const unsigned char*>(inputs.values) + row * value_bytes, inputs.is_float32,
                           columns.data() + row * row_bytes);
    std::vector<std::uint32_t> failed(f.max_shap_slots), of_leaf(inputs.n_rows);
    std::vector<std::uint32_t> of_chunk;
    for (std::size_t c = 0; c < f.shap_chunks.count; ++c) {
        const ShapChunk& chunk = f.shap_chunks[c];
        if (std::size_t{chunk.n_leaves} * sizeof(std::uint32_t) > most_bytes / inputs.n_rows) refuse_size(most_bytes);
        of_chunk.resize(chunk.n_leaves * inputs.n_rows);
        for (std::size_t row = 0; row < inputs.n_rows; ++row) {
            const unsigned char* of_row = columns.data() + row * row_bytes;
            if (f.is_wide)
                mark_failed(f, chunk, bits_.data(), reinterpret_cast<const std::uint32_t*>(of_row), failed.data());
            else
                mark_failed(f, chunk, bits_.data(), reinterpret_cast<const std::uint16_t*>(of_row), failed.data());
            for (std::size_t leaf = 0; leaf < chunk.n_leaves; ++leaf)
                of_chunk[leaf * inputs.n_rows + row] = ~failed[chunk.n_nodes + leaf];
        }
        for (std::size_t leaf = 0; leaf < chunk.n_leaves; ++leaf) {
            const std::size_t number = chunk.first_leaf + leaf;
            const std::uint32_t n_players = first_player_[number + 1] - first_player_[number];
            const std::uint32_t all = n_players == 32 ? 0xFFFFFFFFu : (1u << n_players) - 1;
            for (std::size_t row = 0; row < inputs.n_rows; ++row) of_leaf[row] = of_chunk[leaf * inputs.n_rows + row] & all;
            std::sort(of_leaf.begin(), of_leaf.end());
            first_pattern_.push_back(static_cast<std::uint32_t>(patterns_.size()));
            std::uint32_t passed_by_any = 0;
            for (std::size_t row = 0; row < inputs.n_rows; ++row) {
                passed_by_any |= of_leaf[row];
                if (row > 0 && of_leaf[row] == of_leaf[row - 1])
                    ++patterns_.back().count;
                else
                    patterns_.push_back({of_leaf[row], 1});
            }
            passed_by_any_.push_back(passed_by_any);
            if (patterns_.size() * sizeof(Pattern) > most_bytes) refuse_size(most_bytes);
        }
    }
    first_pattern_.push_back(static_cast<std::uint32_t>(patterns_.size()));
}

// weights[c][0][a] = (a - 1)! c! / (a + c)!, weights[c][1][a] = a! (c - 1)! / (a + c)!.
void Background::fill_weights() {
    constexpr std::size_t kSide = kMostPlayers + 1;
    weights_.assign(kSide * 2 * kSide, 0.0);
    const auto shapley = [](std::size_t a, std::size_t c) {
        double weight = 1.0 / static_cast<double>(a);
        for (std::size_t i = 1; i <= c; ++i) weight *= static_cast<double>(i) / static_cast<double>(a + i);
        return weight;
    };
    for (std::size_t c = 0; c < kSide; ++c)
        for (std::size_t a = 0; a < kSide; ++a) {
            if (a > 0) weights_[(2 * c) * kSide + a] = shapley(a, c);
            if (c > 0) weights_[(2 * c + 1) * kSide + a] = shapley(c, a);
        }
}

BackgroundTable Background::view() const {
    return {bits_.data(),          first_player_.data(),  players_.data(), first_pattern_.data(),
            patterns_.data(),      passed_by_any_.data(), weights_.data(), n_rows_};
}

void Background::contributions_many(const Rows& rows, unsigned threads, double* contributions) const {
    const Forest& f = game_;
    const BackgroundTable table = view();
    const std::vector<double> looked_up = inputs_of(f, rows);
    const Rows inputs = looked_up.empty() ? rows : Rows{looked_up.data(), false, rows.n_rows};
    const std::size_t value_bytes = f.n_inputs * (inputs.is_float32 ? sizeof(float) : sizeof(double));
    const std::size_t input_size = std::size_t{f.n_inputs} * f.n_outputs, row_size = shares_.n_features * f.n_outputs;
    run_pieces(rows.n_rows, kBackgroundRows, kBackgroundRowsPerThread, threads, [&](std::size_t first, std::size_t end) {
        const auto scratch = scratch_.take([&] { return std::make_unique<RowsScratch>(f); });
        std::vector<double> margins(kBackgroundRows * f.n_outputs);
        for (std::size_t row = first; row < end; row += kBackgroundRows) {
            const std::size_t n = std::min(kBackgroundRows, end - row);
            const void* values = static_cast<const unsigned char*>(inputs.values) + row * value_bytes;
            double* of_inputs = scratch->contributions.data();
            engine_.level().explain_background(f, table, values, inputs.is_float32, static_cast<unsigned>(n), scratch->view, of_inputs);
            const bool is_settled = f.sums_in_float32 || f.sum_roundings != nullptr;
            if (is_settled) engine_.margins_of_inputs(Rows{values, inputs.is_float32, n}, 1, margins.data());
            for (std::size_t i = 0; i < n; ++i) {
                if (is_settled)
                    settle_rounding(f, base_.data(), margins.data() + i * f.n_outputs, of_inputs + i * input_size);
                share(f, shares_, of_inputs + i * input_size, contributions + (row + i) * row_size);
            }
        }
    });
}

const RegisteredGame registered("background", [](GameInputs inputs) -> std::unique_ptr<const Game> {
    return std::make_unique<const Background>(std::move(inputs));
});

}  // namespace
}  // namespace mlrf
