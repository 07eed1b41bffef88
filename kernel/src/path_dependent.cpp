#include "path_dependent.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>
#include <vector>

#include "engine.hpp"
#include "engine_scratch.hpp"
#include "pieces.hpp"
#include "tables.hpp"

namespace mlrf {
namespace {

// Starting a thread costs some 30 us, so another thread pays off only for at least this much work.
constexpr std::size_t kExplainedRowsPerThread = 16;
constexpr std::size_t kPairedRowsPerThread = 2;

// Memory that the lists of a forest's pairs, and the sums of one row's, may take.
constexpr std::size_t kMostPairBytes = std::size_t{128} << 20;

// Fewer rows are explained faster one by one. In vectors of 16 bytes, one row takes almost as long as an eighth of eight.
std::size_t least_explained_together(const Level& level) { return level.vector_bytes < 32 ? kExplainedRows : 6; }

// Memory that the sums of rows explained together may take: more would not stay in the caches.
constexpr std::size_t kMostRowSumBytes = std::size_t{4} << 20;

std::size_t row_sums(const Forest& f) { return std::size_t{f.n_outputs} * f.shap_features.count; }

const void* row_of(std::size_t n_values, const Rows& rows, std::size_t row) {
    const std::size_t value_bytes = rows.is_float32 ? sizeof(float) : sizeof(double);
    return static_cast<const unsigned char*>(rows.values) + row * n_values * value_bytes;
}

}  // namespace

// Inputs of a block of rows, and contributions of players.
struct Explainer::ShareScratch {
    ShareScratch(const Forest& f, std::size_t rows)
        : inputs(f.tables.count > 0 ? rows * f.n_inputs : 0), contributions(rows * f.n_inputs * f.n_outputs), lookup(f) {}

    Arena<double> inputs, contributions;
    LookupScratch lookup;
};

struct Explainer::ExplainedScratch {
    ExplainedScratch(const Forest& f, const ShapLayout& layout, const QuadratureRules& rules)
        : slots(layout.most_slots * kMostLanes),
          seen_terms(layout.most_seen_upper * kMostLanes),
          sums(row_sums(f) * kMostLanes),
          ways(layout.most_nodes),
          columns((f.n_columns + kColumnRoom) * column_bytes(f)),
          view{rules.rules(), slots.data(), seen_terms.data(), sums.data(), ways.data(), columns.data()} {}

    Arena<double> slots, seen_terms, sums;
    Arena<std::uint8_t> ways;
    Arena<unsigned char> columns;
    ExplainScratch view;
};

struct Explainer::ExplainedRowsMemory {
    ExplainedRowsMemory(const Forest& f, const ShapLayout& layout, const QuadratureRules& rules)
        : slots(layout.most_slots * kMostVisitNodes * kExplainedRows),
          moves(layout.most_seen * kMostVisitNodes),
          factors(layout.most_seen * kMostVisitNodes),
          sums(row_sums(f) * kMostLanes * kExplainedRows),
          left(layout.most_nodes),
          counted(layout.most_nodes),
          categories(f.category_defaults.count + kColumnRoom),
          // The columns of a layout with short numbers are short as well.
          columns(f.first_category_column * kExplainedRows * (layout.is_short ? 2 : 4)),
          view{rules.rules(), slots.data(), moves.data(), factors.data(), sums.data(), left.data(), counted.data(),
               categories.data(), columns.data()} {}

    Arena<double> slots, moves, factors, sums;
    Arena<std::uint8_t> left, counted, categories;
    Arena<unsigned char> columns;
    ExplainedRowsScratch view;
};

struct Explainer::PairRowScratch {
    PairRowScratch(const Forest& f, const Level& level, const QuadratureRules& rules, std::size_t n_pairs)
        : lanes(level.vector_bytes / sizeof(double)),
          weight(f.max_shap_slots * lanes),
          value(f.max_shap_slots * lanes),
          share(f.max_shap_nodes * lanes),
          delta(f.max_shap_nodes),
          spent(2 * std::size_t{f.max_shap_nodes}),
          sums(f.n_outputs * f.shap_features.count * lanes),
          edges(2 * f.max_shap_nodes * lanes),
          pair_sums(n_pairs * lanes),
          contributions(std::size_t{f.n_inputs} * f.n_outputs),
          pairs(n_pairs),
          columns((f.n_columns + kColumnRoom) * column_bytes(f)),
          row{rules.rules(), weight.data(), value.data(), share.data(), delta.data(), spent.data(), sums.data(), columns.data()},
          view{edges.data(), pair_sums.data()} {}

    std::size_t lanes;
    Arena<double> weight, value, share, delta, spent, sums, edges, pair_sums, contributions, pairs;
    Arena<unsigned char> columns;
    ShapScratch row;
    PairScratch view;
};

Explainer::Explainer(const Engine& engine, const Forest& game, Shares shares)
    : engine_(engine),
      game_(game),
      shares_(std::move(shares)),
      is_direct_(game.tables.count == 0 && shares_.n_features == game.n_inputs),
      rules_(game_) {}

Explainer::~Explainer() = default;

void Explainer::contributions(const void* values, bool is_float32, double* contributions) const {
    contributions_many(Rows{values, is_float32, 1}, 1, contributions);
}

void Explainer::require_constant_leaves() const {
    if (game_.linear_leaves.count > 0) throw std::invalid_argument("a forest with linear leaves has no contributions");
}

void Explainer::contributions_many(const Rows& rows, unsigned threads, double* contributions) const {
    require_constant_leaves();
    if (is_direct_) {
        of_inputs(rows, threads, contributions);
        return;
    }
    const Forest& f = game_;
    const std::size_t values_a_row = std::size_t{f.n_inputs} * (std::size_t{f.n_outputs} + 1);
    const std::size_t block = rows.n_rows == 1 ? 1 : input_block_rows(values_a_row);
    each_block(rows, block, kExplainedRowsPerThread, threads, [&](const Rows& inputs, std::size_t first, ShareScratch& scratch) {
        of_inputs(inputs, 1, scratch.contributions.data());
        for (std::size_t i = 0; i < inputs.n_rows; ++i)
            share(f, shares_, scratch.contributions.data() + i * f.n_inputs * f.n_outputs,
                  contributions + (first + i) * shares_.n_features * f.n_outputs);
    });
}

// Run work(inputs, first row, scratch) for blocks of rows, whose tables are looked up.
template <typename Work>
void Explainer::each_block(const Rows& rows, std::size_t block, std::size_t least, unsigned threads, const Work& work) const {
    const Forest& f = game_;
    run_pieces(rows.n_rows, block, least, threads, [&](std::size_t first, std::size_t end) {
        const auto scratch = (block == 1 ? single_inputs_ : block_inputs_).take([&] { return std::make_unique<ShareScratch>(f, block); });
        for (std::size_t row = first; row < end; row += block) {
            const std::size_t n = std::min(block, end - row);
            const void* given = row_of(f.n_features, rows, row);
            if (f.tables.count == 0) {
                work(Rows{given, rows.is_float32, n}, row, *scratch);
                continue;
            }
            fill_inputs(f, given, rows.is_float32, n, scratch->lookup, scratch->inputs.data());
            work(Rows{scratch->inputs.data(), false, n}, row, *scratch);
        }
    });
}

void Explainer::of_inputs(const Rows& rows, unsigned threads, double* contributions) const {
    const Forest& f = game_;
    const ShapLayout& trees = layout();
    const std::size_t row_size = std::size_t{f.n_inputs} * f.n_outputs;
    const bool is_alone = row_sums(f) * kMostLanes * kExplainedRows * sizeof(double) > kMostRowSumBytes;
    const std::size_t least = is_alone ? rows.n_rows + 1 : least_explained_together(engine_.level());
    run_pieces(rows.n_rows, kExplainedRows, kExplainedRowsPerThread, threads, [&](std::size_t first, std::size_t end) {
        std::size_t row = first;
        if (end - row >= least) {
            const auto scratch = row_blocks_.take([&] { return std::make_unique<ExplainedRowsMemory>(f, trees, rules_); });
            while (end - row >= least) {
                const std::size_t n = std::min(kExplainedRows, end - row);
                engine_.level().explain_rows(f, trees, row_of(f.n_inputs, rows, row), rows.is_float32, n, scratch->view,
                                             contributions + row * row_size);
                row += n;
            }
        }
        if (row < end) {
            const auto scratch = rows_.take([&] { return std::make_unique<ExplainedScratch>(f, trees, rules_); });
            for (; row < end; ++row)
                engine_.level().explain_row(f, trees, row_of(f.n_inputs, rows, row), rows.is_float32, scratch->view,
                                            contributions + row * row_size);
        }
        settle(Rows{row_of(f.n_inputs, rows, first), rows.is_float32, end - first}, contributions + first * row_size);
    });
}

const ShapLayout& Explainer::layout() const {
    std::call_once(has_trees_, [&] { trees_ = std::make_unique<const ShapTrees>(game_); });
    return trees_->view();
}

void Explainer::settle(const Rows& rows, double* contributions) const {
    const Forest& f = game_;
    if (!f.sums_in_float32 && f.sum_roundings == nullptr) return;
    std::vector<double> margins(rows.n_rows * f.n_outputs);
    engine_.margins_of_inputs(rows, 1, margins.data());
    for (std::size_t row = 0; row < rows.n_rows; ++row)
        settle_rounding(f, f.expected.data, margins.data() + row * f.n_outputs, contributions + row * f.n_inputs * f.n_outputs);
}

const PairLists& Explainer::pair_lists() const {
    std::call_once(has_pair_lists_, [&] { pair_lists_ = std::make_unique<const PairLists>(game_, kMostPairBytes); });
    return *pair_lists_;
}

void Explainer::interactions(const Rows& rows, unsigned threads, double* interactions) const {
    const Forest& f = game_;
    const Level& level = engine_.level();
    require_constant_leaves();
    const PairLists& lists = pair_lists();
    const PairPaths paths = lists.view();
    each_block(rows, 1, kPairedRowsPerThread, threads, [&](const Rows& inputs, std::size_t row, ShareScratch& shared) {
        const auto scratch =
            pair_rows_.take([&] { return std::make_unique<PairRowScratch>(f, level, rules_, lists.pairs().size()); });
        double* of_players = scratch->contributions.data();
        level.explain_pairs(f, paths, inputs.values, inputs.is_float32, scratch->row, scratch->view, of_players,
                            scratch->pairs.data());
        settle(inputs, of_players);
        share(f, shares_, of_players, shared.contributions.data());
        fill_matrix(shared.contributions.data(), scratch->pairs.data(),
                    interactions + row * shares_.n_features * shares_.n_features * f.n_outputs);
    });
}

// What a feature contributes besides its interactions with others stands on the diagonal.
void Explainer::fill_matrix(const double* contributions, const double* pairs, double* matrix) const {
    const std::size_t n = shares_.n_features, n_outputs = game_.n_outputs;
    for (std::size_t i = 0; i < n * n * n_outputs; ++i) matrix[i] = 0.0;
    const std::vector<Pair>& listed = pair_lists_->pairs();
    for (std::size_t p = 0; p < listed.size(); ++p) {
        const std::uint32_t first = shares_.first[listed[p].first], first_end = shares_.first[listed[p].first + 1];
        const std::uint32_t second = shares_.first[listed[p].second], second_end = shares_.first[listed[p].second + 1];
        const double part = pairs[p] / (first_end - first) / (second_end - second);
        for (std::uint32_t a = first; a < first_end; ++a)
            for (std::uint32_t b = second; b < second_end; ++b) {
                const std::size_t row = shares_.listed[a], column = shares_.listed[b];
                matrix[(row * n + column) * n_outputs + listed[p].output] += part;
                matrix[(column * n + row) * n_outputs + listed[p].output] += part;
            }
    }
    for (std::size_t row = 0; row < n; ++row)
        for (std::size_t k = 0; k < n_outputs; ++k) {
            double others = 0.0;
            for (std::size_t column = 0; column < n; ++column)
                if (column != row) others += matrix[(row * n + column) * n_outputs + k];
            matrix[(row * n + row) * n_outputs + k] = contributions[row * n_outputs + k] - others;
        }
}

}  // namespace mlrf
