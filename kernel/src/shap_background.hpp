// Interventional Shapley values of one row against a background of rows, from a table of patterns (games/background.cpp).
//
// Against one background row b, a leaf of value v is a game of the players on its path: v where, for each of them, the row whose
// value the player takes satisfies the player's tests. With q the players whose tests x fails and m those whose tests b passes, the
// leaf counts only if m holds all of q. Then the a players outside m must come from x and the c of q from b, the others do not
// matter, and Shapley's values of this game are
//     v (a - 1)! c! / (a + c)!  for each player outside m,     -v a! (c - 1)! / (a + c)!  for each player of q.
// Rows of the background with the same m share one computation, and c is the same for all of a leaf.
#pragma once

#include <cstddef>
#include <cstdint>

#include "leaf_masks.hpp"
#include "ranks.hpp"
#include "shap.hpp"

namespace mlrf::MLRF_LEVEL {

// Which of four players are in a set of four bits, as numbers to multiply with.
alignas(64) static constexpr double kMembers[16][4] = {
    {0, 0, 0, 0}, {1, 0, 0, 0}, {0, 1, 0, 0}, {1, 1, 0, 0}, {0, 0, 1, 0}, {1, 0, 1, 0}, {0, 1, 1, 0}, {1, 1, 1, 0},
    {0, 0, 0, 1}, {1, 0, 0, 1}, {0, 1, 0, 1}, {1, 1, 0, 1}, {0, 0, 1, 1}, {1, 0, 1, 1}, {0, 1, 1, 1}, {1, 1, 1, 1}};

// Add one leaf's part to the sums of its players, `failed` being the players whose tests the row fails.
template <int kQuads>
void add_leaf(const BackgroundTable& table, std::size_t leaf, double value, std::uint32_t failed, double* sums) {
    constexpr int kLanes = MLRF_VECTOR_BYTES / 8 < 4 ? MLRF_VECTOR_BYTES / 8 : 4;
    typedef typename Doubles<kLanes>::Vector Vector;
    constexpr int kParts = 4 / kLanes;
    const std::uint32_t first = table.first_player[leaf], n_players = table.first_player[leaf + 1] - first;
    const std::uint32_t all = n_players == 32 ? 0xFFFFFFFFu : (1u << n_players) - 1;
    const std::size_t c = static_cast<std::size_t>(__builtin_popcount(failed));
    const double* of_x = table.weights + c * 2 * (kMostPlayers + 1);
    const double* of_background = of_x + kMostPlayers + 1;
    Vector parts[kQuads * kParts] = {};
    double lost = 0.0;
    for (std::uint32_t p = table.first_pattern[leaf]; p != table.first_pattern[leaf + 1]; ++p) {
        const Pattern pattern = table.patterns[p];
        if ((failed & ~pattern.passed) != 0) continue;
        const std::uint32_t outside = all & ~pattern.passed;
        const std::size_t a = static_cast<std::size_t>(__builtin_popcount(outside));
        const double count = static_cast<double>(pattern.count);
        const double won = count * of_x[a];
        lost += count * of_background[a];
        for (int quad = 0; quad < kQuads; ++quad) {
            const double* members = kMembers[(outside >> (4 * quad)) & 15];
            for (int part = 0; part < kParts; ++part)
                parts[quad * kParts + part] += won * reinterpret_cast<const Vector*>(members)[part];
        }
    }
    alignas(64) double found[4 * kQuads];
    for (int i = 0; i < kQuads * kParts; ++i) reinterpret_cast<Vector*>(found)[i] = parts[i];
    for (std::uint32_t player = 0; player < n_players; ++player) {
        const double part = (failed >> player & 1) != 0 ? -lost : found[player];
        sums[table.players[first + player]] += value * part;
    }
}

// Contributions of at most kBackgroundRows rows, contributions[row][n_inputs][K].
template <typename Column, typename Value>
void explain_background(const Forest& f, const BackgroundTable& table, const Value* values, std::size_t n_rows,
                        const BackgroundScratch& scratch, double* contributions) {
    const std::size_t n_sums = std::size_t{f.n_outputs} * f.shap_features.count;
    Column* columns = static_cast<Column*>(scratch.columns);
    for (std::size_t row = 0; row < n_rows; ++row)
        fill_columns<Column>(f, values + row * f.n_inputs, columns + row * scratch.row_columns, 1);
    for (std::size_t i = 0; i < n_rows * n_sums; ++i) scratch.sums[i] = 0.0;
    for (std::size_t c = 0; c < f.shap_chunks.count; ++c) {
        const ShapChunk& chunk = f.shap_chunks[c];
        for (std::size_t row = 0; row < n_rows; ++row) {
            mark_failed(f, chunk, table.bits, columns + row * scratch.row_columns, scratch.failed);
            double* sums = scratch.sums + row * n_sums;
            for (std::size_t i = 0; i < chunk.n_leaves; ++i) {
                const std::uint32_t failed = scratch.failed[chunk.n_nodes + i];
                const std::size_t leaf = chunk.first_leaf + i;
                if ((failed & ~table.passed_by_any[leaf]) != 0) continue;
                const double value = f.shap_leaves[leaf];
                const std::uint32_t n_players = table.first_player[leaf + 1] - table.first_player[leaf];
                if (n_players <= 4)
                    add_leaf<1>(table, leaf, value, failed, sums);
                else if (n_players <= 8)
                    add_leaf<2>(table, leaf, value, failed, sums);
                else if (n_players <= 16)
                    add_leaf<4>(table, leaf, value, failed, sums);
                else
                    add_leaf<8>(table, leaf, value, failed, sums);
            }
        }
    }
    const std::size_t row_size = std::size_t{f.n_inputs} * f.n_outputs;
    for (std::size_t i = 0; i < n_rows * row_size; ++i) contributions[i] = 0.0;
    for (std::size_t row = 0; row < n_rows; ++row)
        for (std::size_t k = 0; k < f.n_outputs; ++k)
            for (std::size_t u = 0; u < f.shap_features.count; ++u)
                contributions[row * row_size + std::size_t{f.shap_features[u]} * f.n_outputs + k] =
                    scratch.sums[row * n_sums + k * f.shap_features.count + u] / static_cast<double>(table.n_rows) / f.divisor * f.scale;
}

}  // namespace mlrf::MLRF_LEVEL
