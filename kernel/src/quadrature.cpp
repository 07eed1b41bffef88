#include "quadrature.hpp"

#include <cmath>

namespace mlrf {
namespace {

// Newton's method on the Legendre polynomial of degree n, from the usual cosine estimate of each root (Press et al. 2007, 4.6).
void fill_rule(unsigned n, double* at, double* weight) {
    const double pi = 3.14159265358979323846;
    for (unsigned i = 0; i < n; ++i) {
        double x = std::cos(pi * (i + 0.75) / (n + 0.5));
        double slope = 0.0;
        for (int round = 0; round < 100; ++round) {
            double p = 1.0, previous = 0.0;
            for (unsigned k = 0; k < n; ++k) {
                const double next = ((2.0 * k + 1.0) * x * p - k * previous) / (k + 1.0);
                previous = p;
                p = next;
            }
            slope = n * (x * p - previous) / (x * x - 1.0);
            const double move = p / slope;
            x -= move;
            if (std::fabs(move) < 1e-15) break;
        }
        at[i] = 0.5 * (1.0 + x);
        weight[i] = 1.0 / ((1.0 - x * x) * slope * slope);
    }
}

unsigned padded(unsigned n) { return (n + 7) / 8 * 8; }

}  // namespace

QuadratureRules::QuadratureRules(const Forest& forest) : rules_(kMaxQuadrature + 1, Quadrature{nullptr, nullptr}) {
    std::vector<bool> is_used(kMaxQuadrature + 1, false);
    std::size_t n_numbers = 8;
    for (std::size_t c = 0; c < forest.shap_chunks.count; ++c) {
        const unsigned n = forest.shap_chunks[c].n_quadrature;
        if (!is_used[n]) n_numbers += 2 * padded(n);
        is_used[n] = true;
    }
    numbers_.assign(n_numbers, 0.0);
    // Vector loads need 64-byte alignment; the vector has 7 extra doubles for it.
    double* next = numbers_.data();
    while (reinterpret_cast<std::uintptr_t>(next) % 64 != 0) ++next;
    for (unsigned n = 1; n <= kMaxQuadrature; ++n) {
        if (!is_used[n]) continue;
        double* at = next;
        double* weight = next + padded(n);
        next += 2 * padded(n);
        for (unsigned i = 0; i < padded(n); ++i) at[i] = 0.5;
        fill_rule(n, at, weight);
        rules_[n] = {at, weight};
    }
}

}  // namespace mlrf
