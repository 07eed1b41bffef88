// What few callers need in addition to a row's margin: the leaves that it reaches, and its margin from a start of its own.
//
// Both score the row first and read the scratch memory of that: twice the work, and no further kernel for each instruction set.
#include <type_traits>
#include <vector>

#include "engine.hpp"
#include "engine_scratch.hpp"
#include "linear_leaves.hpp"
#include "pieces.hpp"
#include "reached_leaf.hpp"
#include "tables.hpp"

namespace mlrf {
namespace {

// Rows with linear leaves that another thread is worth.
constexpr std::size_t kLinearRows = 64;

// Return a sum as it is served: divided, scaled and with the base of forests that add it last, each step in the file's precision.
template <typename Number>
double finished(const Forest& f, std::size_t k, Number sum) {
    // Volatile prevents a fused multiply-add, which would round once where the libraries round twice.
    const volatile Number scaled = sum / static_cast<Number>(f.divisor) * static_cast<Number>(f.scale);
    if (!f.adds_base_last) return scaled;
    return static_cast<Number>(scaled + f.base[k]);
}

template <typename Number>
void sum_leaves(const Forest& f, const double* leaf_of_tree, const double* starts, double* margins) {
    std::vector<Number> sums(f.n_outputs);
    for (std::size_t k = 0; k < f.n_outputs; ++k) sums[k] = static_cast<Number>(starts[k]);
    for (std::size_t t = 0; t < f.n_trees; ++t) sums[f.trees[t].output] += static_cast<Number>(leaf_of_tree[t]);
    for (std::size_t k = 0; k < f.n_outputs; ++k)
        if (is_float32_sum(f, k) == std::is_same_v<Number, float>) margins[k] = finished<Number>(f, k, sums[k]);
}

}  // namespace

template <typename Work>
void Engine::each_row(const Rows& rows, const Work& work) const {
    const auto scratch = rows_.take([&] { return std::make_unique<RowScratch>(forest_); });
    std::vector<double> margins(forest_.n_outputs);
    const std::size_t value_bytes = rows.is_float32 ? sizeof(float) : sizeof(double);
    for (std::size_t row = 0; row < rows.n_rows; ++row) {
        const void* values = static_cast<const unsigned char*>(rows.values) + row * forest_.n_features * value_bytes;
        bool is_float32 = rows.is_float32;
        if (forest_.tables.count > 0) {
            fill_inputs(forest_, values, is_float32, 1, scratch->lookup, scratch->inputs.data());
            values = scratch->inputs.data();
            is_float32 = false;
        }
        level_.score_row(forest_, values, is_float32, scratch->columns.data(), scratch->leaf_of_tree.data(), margins.data());
        if (forest_.linear_leaves.count > 0)
            linear_values(forest_, values, is_float32, scratch->columns.data(), scratch->leaf_of_tree.data());
        work(row, *scratch);
    }
}

void Engine::margins_from(const Rows& rows, const double* starts, double* margins) const {
    const Forest& f = forest_;
    each_row(rows, [&](std::size_t row, const RowScratch& scratch) {
        const std::size_t first = row * f.n_outputs;
        if (!f.sums_in_float32) sum_leaves<double>(f, scratch.leaf_of_tree.data(), starts + first, margins + first);
        if (f.sums_in_float32 || f.sum_roundings != nullptr)
            sum_leaves<float>(f, scratch.leaf_of_tree.data(), starts + first, margins + first);
    });
}

void Engine::linear_margins(const Rows& rows, unsigned threads, double* margins) const {
    const Forest& f = forest_;
    const std::size_t row_bytes = f.n_features * (rows.is_float32 ? sizeof(float) : sizeof(double));
    run_pieces(rows.n_rows, kLinearRows, kLinearRows, threads, [&](std::size_t first, std::size_t end) {
        const void* values = static_cast<const unsigned char*>(rows.values) + first * row_bytes;
        each_row(Rows{values, rows.is_float32, end - first}, [&](std::size_t row, const RowScratch& scratch) {
            sum_leaves<double>(f, scratch.leaf_of_tree.data(), f.base.data, margins + (first + row) * f.n_outputs);
        });
    });
}

void Engine::leaves(const Rows& rows, const std::uint32_t* trees, std::size_t n_trees, const std::uint32_t* numbers,
                    double* leaves) const {
    const Forest& f = forest_;
    each_row(rows, [&](std::size_t row, const RowScratch& scratch) {
        for (std::size_t i = 0; i < n_trees; ++i) {
            const TreeRecord& tree = f.trees[trees[i]];
            leaves[row * n_trees + i] = numbers[tree.first_value + reached_leaf(f, scratch.columns.data(), tree)];
        }
    });
}

}  // namespace mlrf
