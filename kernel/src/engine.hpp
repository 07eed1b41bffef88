// Predictions for rows of one forest: chooses the algorithm, the scratch memory and the number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "path_dependent.hpp"
#include "forest.hpp"
#include "level.hpp"
#include "mapping.hpp"
#include "packed_trees.hpp"
#include "pool.hpp"
#include "ranked_tables.hpp"
#include "symmetric.hpp"
#include "threshold_trees.hpp"

namespace mlrf {

// n rows of F values each, row-major, aligned to their own size.
struct Rows {
    const void* values;
    bool is_float32;
    std::size_t n_rows;
};

class Engine {
public:
    // Throws std::system_error (no such file), ForestFileError (damaged file), std::invalid_argument (no such level).
    Engine(const std::string& path, const char* level);
    ~Engine();

    const Forest& forest() const { return forest_; }
    const Level& level() const { return level_; }
    bool is_packed() const { return packed_ != nullptr; }

    const Explainer& explainer() const { return *explainer_; }

    // Margins [K] of one row. Thread-safe.
    void margin(const void* values, bool is_float32, double* margins) const;

    // Margins [n][K] of many rows, on at most `threads` threads. The answer does not depend on `threads`.
    void margins(const Rows& rows, unsigned threads, double* margins) const;
    // The same for rows [n][n_inputs], whose tables have been looked up.
    void margins_of_inputs(const Rows& rows, unsigned threads, double* margins) const;

    // Margins [n][K] of sums that start at starts [n][K] and not at the model's base.
    void margins_from(const Rows& rows, const double* starts, double* margins) const;
    // The leaf that each row reaches in each of n_trees trees, [n][n_trees]: numbers[i] for leaf i of the file's leaf values.
    void leaves(const Rows& rows, const std::uint32_t* trees, std::size_t n_trees, const std::uint32_t* numbers,
                double* leaves) const;

private:
    template <typename Work>
    void each_row(const Rows& rows, const Work& work) const;
    void score_few(const Rows& rows, double* margins) const;
    void linear_margins(const Rows& rows, unsigned threads, double* margins) const;
    void walked_margins(const Rows& rows, unsigned threads, double* margins) const;
    std::size_t least_swept_rows() const;
    std::size_t swept_rows(std::size_t n_rows) const;
    void sweep_rows(const Rows& rows, const RankedTables* tables, double* margins) const;
    void looked_up_margins(const Rows& rows, double* margins) const;
    void table_row_margins(const Rows& rows, double* margins) const;
    bool scores_table_rows() const { return ranked_tables_ != nullptr && symmetric_.holds_all(); }

    struct RowScratch;
    struct LookedUpRowScratch;
    struct PackedRowsScratch;
    struct InputScratch;
    struct WalkedBlockScratch;
    struct BlockScratch;

    Mapping mapping_;
    Forest forest_;
    const Level& level_;
    ThresholdTrees threshold_trees_;
    SymmetricForest symmetric_;
    std::unique_ptr<const PackedForest> packed_;  // nullptr where the level or the forest does not allow it
    std::unique_ptr<const RankedTableStorage> ranked_tables_;  // nullptr where no block of rows is looked up and swept
    std::vector<std::uint32_t> depth_of_tree_;
    std::size_t least_swept_;  // rows, fewer of which are scored one by one
    mutable Pool<RowScratch> rows_;
    mutable Pool<LookedUpRowScratch> looked_up_rows_;
    mutable Pool<PackedRowsScratch> packed_rows_;
    mutable Pool<InputScratch> inputs_;
    mutable Pool<WalkedBlockScratch> walked_blocks_;
    mutable Pool<BlockScratch> blocks_;
    std::unique_ptr<const Explainer> explainer_;
};

}  // namespace mlrf
