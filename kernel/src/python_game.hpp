// The Python class of a game with an algorithm of its own: made once from rows for a forest, then used to explain any number of rows.
#pragma once

#include <nanobind/nanobind.h>

#include <memory>
#include <string>

#include "buffers.hpp"
#include "engine.hpp"
#include "game.hpp"
#include "python_groups.hpp"

namespace mlrf {

// `Forest` is the Python class of a forest; nanobind keeps it alive for as long as this.
template <typename Forest>
class PythonGame {
public:
    // `groups` are the players, if given; nanobind keeps them alive.
    PythonGame(const Forest& forest, const std::string& name, nb::handle rows, std::size_t most_bytes,
               const PythonGroups<Forest>* groups)
        : forest_(forest) {
        const Engine& engine = forest.engine();
        if (engine.forest().linear_leaves.count > 0) throw std::invalid_argument("a forest with linear leaves has no contributions");
        forest.with_numbers(rows, [&](const Rows& r) {
            const nb::gil_scoped_release released;
            if (groups == nullptr) {
                game_ = make_game(name, {engine, engine.forest(), file_shares(engine.forest()), r, most_bytes});
            } else {
                const mlrf::Forest trees = groups->game().game();
                game_ = make_game(name, {engine, trees, groups->game().shares(), r, most_bytes});
            }
        });
    }

    nb::object contributions_many(nb::handle rows, int threads) const {
        return forest_.with_rows(rows, threads, game_->n_features() * forest_.engine().forest().n_outputs,
                                 [&](const Rows& r, unsigned n, double* out) { game_->contributions_many(r, n, out); });
    }

    nb::object base() const {
        nb::list list;
        for (const double number : game_->base()) list.append(number);
        return list;
    }

    std::size_t size_bytes() const { return game_->size_bytes(); }

private:
    const Forest& forest_;
    std::unique_ptr<const Game> game_;
};

}  // namespace mlrf
