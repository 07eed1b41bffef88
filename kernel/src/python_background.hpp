// The Python class of a background: built once from rows of a forest, then used to explain any number of rows.
#pragma once

#include <nanobind/nanobind.h>

#include <memory>
#include <vector>

#include "background.hpp"
#include "buffers.hpp"
#include "engine.hpp"
#include "python_groups.hpp"

namespace mlrf {

// `Forest` is the Python class of a forest; nanobind keeps it alive for as long as this.
template <typename Forest>
class PythonBackground {
public:
    // `groups` are the players, if given; nanobind keeps them alive.
    PythonBackground(const Forest& forest, nb::handle rows, std::size_t most_bytes, const PythonGroups<Forest>* groups)
        : forest_(forest) {
        const Engine& engine = forest.engine();
        if (engine.forest().linear_leaves.count > 0) throw std::invalid_argument("a forest with linear leaves has no contributions");
        forest.with_numbers(rows, [&](const Rows& r) {
            const nb::gil_scoped_release released;
            if (groups == nullptr)
                background_ = std::make_unique<const Background>(engine, engine.forest(), file_shares(engine.forest()), r, most_bytes);
            else
                background_ =
                    std::make_unique<const Background>(engine, groups->game().game(), groups->game().shares(), r, most_bytes);
        });
    }

    nb::object contributions_many(nb::handle rows, int threads) const {
        return forest_.with_rows(rows, threads, background_->n_features() * forest_.engine().forest().n_outputs,
                                 [&](const Rows& r, unsigned n, double* out) { background_->contributions_many(r, n, out); });
    }

    nb::object base() const {
        nb::list list;
        for (const double number : background_->base()) list.append(number);
        return list;
    }

    std::size_t size_bytes() const { return background_->size_bytes(); }

private:
    const Forest& forest_;
    std::unique_ptr<const Background> background_;
};

}  // namespace mlrf
