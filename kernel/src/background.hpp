// Interventional Shapley values against a background of rows: a table of the patterns in which these rows pass each leaf's tests.
//
// The table is built once for a background; a row is then explained against all of its rows, none of which is left out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "forest.hpp"
#include "level.hpp"
#include "pool.hpp"
#include "shap_paths.hpp"
#include "shares.hpp"

namespace mlrf {

class Engine;
struct Rows;

class Background {
public:
    // Rows as they are given. Throws std::invalid_argument for none, TooLargeError where a path has more than 32 players or the table
    // takes more than `most_bytes`, ForestFileError where nodes are not trees.
    Background(const Engine& engine, const Forest& game, Shares shares, const Rows& rows, std::size_t most_bytes);
    ~Background();

    std::size_t n_features() const { return shares_.n_features; }
    // [K] the mean margin of the background.
    const std::vector<double>& base() const { return base_; }
    std::size_t size_bytes() const;

    // Contributions [n][n_features][K] of n rows, on at most `threads` threads. The answer does not depend on `threads`.
    void contributions_many(const Rows& rows, unsigned threads, double* contributions) const;

private:
    void list_players(std::size_t most_bytes);
    void list_patterns(const Rows& inputs, std::size_t most_bytes);
    void fill_weights();
    BackgroundTable view() const;

    struct RowsScratch;

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

}  // namespace mlrf
