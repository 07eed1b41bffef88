// Gauss-Legendre rules on [0, 1], for the numbers of quadrature nodes that a forest needs.
#pragma once

#include <vector>

#include "forest.hpp"
#include "scratch.hpp"

namespace mlrf {

class QuadratureRules {
public:
    explicit QuadratureRules(const Forest& forest);

    // Indexed by the number of quadrature nodes; only the rules that the forest needs are filled.
    const Quadrature* rules() const { return rules_.data(); }

private:
    std::vector<Quadrature> rules_;
    std::vector<double> numbers_;
};

}  // namespace mlrf
