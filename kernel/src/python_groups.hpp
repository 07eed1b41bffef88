// The Python class of groups of features: made once for a forest, then asked for contributions of the groups.
#pragma once

#include <nanobind/nanobind.h>

#include "buffers.hpp"
#include "engine.hpp"
#include "path_dependent.hpp"
#include "grouped_game.hpp"

namespace mlrf {

// `Forest` is the Python class of a forest; nanobind keeps it alive for as long as this.
template <typename Forest>
class PythonGroups {
public:
    PythonGroups(const Forest& forest, nb::handle group_of, std::size_t n_groups)
        : forest_(forest),
          game_(forest.engine().forest(), checked(forest, Indices(group_of.ptr())).data(), n_groups),
          explainer_(forest.engine(), game_.game(), game_.shares()) {}

    nb::object contributions_many(nb::handle rows, int threads) const {
        return forest_.with_rows(rows, threads, explainer_.n_features() * forest_.engine().forest().n_outputs,
                                 [&](const Rows& r, unsigned n, double* out) { explainer_.contributions_many(r, n, out); });
    }

    nb::object base() const { return forest_.base(); }
    const GroupedGame& game() const { return game_; }

private:
    static std::vector<std::uint32_t> checked(const Forest& forest, const Indices& group_of) {
        if (group_of.count() != forest.engine().forest().n_features) throw nb::value_error("each feature needs a group");
        return {group_of.data(), group_of.data() + group_of.count()};
    }

    const Forest& forest_;
    const GroupedGame game_;
    const Explainer explainer_;
};

}  // namespace mlrf
