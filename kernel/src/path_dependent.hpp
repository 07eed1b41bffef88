// Shapley values and interaction values of the rows of one forest, path-dependent: chooses the algorithm, the scratch memory and the
// number of threads.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>

#include "forest.hpp"
#include "level.hpp"
#include "pool.hpp"
#include "quadrature.hpp"
#include "shap_paths.hpp"
#include "shap_trees.hpp"
#include "shares.hpp"

namespace mlrf {

class Engine;
struct Rows;

class Explainer {
public:
    // `game` is the engine's forest, with its explained trees or with those of other players.
    Explainer(const Engine& engine, const Forest& game, Shares shares);
    ~Explainer();

    std::size_t n_features() const { return shares_.n_features; }

    // std::invalid_argument for a forest with linear leaves: contributions are of constants.
    //
    // Contributions [n_features][K] of one row, and of n rows on at most `threads` threads. The answer does not depend on `threads`.
    void contributions(const void* values, bool is_float32, double* contributions) const;
    void contributions_many(const Rows& rows, unsigned threads, double* contributions) const;

    // Interactions [n][n_features][n_features][K]: symmetric, and the rows of a matrix add up to the contributions. Throws TooLargeError.
    void interactions(const Rows& rows, unsigned threads, double* interactions) const;

private:
    template <typename Work>
    void each_block(const Rows& rows, std::size_t block, std::size_t least, unsigned threads, const Work& work) const;
    void require_constant_leaves() const;
    void of_inputs(const Rows& rows, unsigned threads, double* contributions) const;
    void settle(const Rows& rows, double* contributions) const;
    const ShapLayout& layout() const;
    const PairLists& pair_lists() const;
    void fill_matrix(const double* contributions, const double* pairs, double* matrix) const;

    struct ShareScratch;
    struct ExplainedScratch;
    struct ExplainedRowsMemory;
    struct PairRowScratch;

    const Engine& engine_;
    const Forest game_;
    const Shares shares_;
    const bool is_direct_;  // players are the features
    QuadratureRules rules_;
    mutable Pool<ShareScratch> single_inputs_;
    mutable Pool<ShareScratch> block_inputs_;
    mutable Pool<ExplainedScratch> rows_;
    mutable Pool<ExplainedRowsMemory> row_blocks_;
    mutable Pool<PairRowScratch> pair_rows_;
    mutable std::once_flag has_trees_;
    mutable std::unique_ptr<const ShapTrees> trees_;
    mutable std::once_flag has_pair_lists_;
    mutable std::unique_ptr<const PairLists> pair_lists_;
};

}  // namespace mlrf
