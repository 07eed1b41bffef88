#include "shares.hpp"

#include <cmath>

namespace mlrf {

Shares file_shares(const Forest& f) {
    Shares shares;
    shares.n_features = f.n_features;
    for (std::size_t u = 0; u < f.shap_features.count; ++u) {
        shares.first.push_back(static_cast<std::uint32_t>(shares.listed.size()));
        const std::uint32_t player = f.shap_features[u];
        if (player < f.n_features) {
            shares.listed.push_back(player);
            continue;
        }
        if (player - f.n_features >= f.feature_groups.count) continue;
        const FeatureGroup& group = f.feature_groups[player - f.n_features];
        for (std::uint32_t m = group.first; m < group.first + group.count; ++m) shares.listed.push_back(f.group_features[m]);
    }
    shares.first.push_back(static_cast<std::uint32_t>(shares.listed.size()));
    return shares;
}

void share(const Forest& f, const Shares& shares, const double* of_players, double* contributions) {
    const std::size_t n_outputs = f.n_outputs;
    for (std::size_t i = 0; i < shares.n_features * n_outputs; ++i) contributions[i] = 0.0;
    for (std::size_t u = 0; u < f.shap_features.count; ++u) {
        const double* whole = of_players + std::size_t{f.shap_features[u]} * n_outputs;
        const std::uint32_t count = shares.first[u + 1] - shares.first[u];
        for (std::uint32_t s = shares.first[u]; s < shares.first[u + 1]; ++s)
            for (std::size_t k = 0; k < n_outputs; ++k)
                contributions[std::size_t{shares.listed[s]} * n_outputs + k] += whole[k] / count;
    }
}

void settle_rounding(const Forest& f, const double* base, const double* margins, double* contributions) {
    for (std::size_t k = 0; k < f.n_outputs; ++k) {
        double sum = 0.0, size = 0.0;
        for (std::size_t u = 0; u < f.shap_features.count; ++u) {
            const double phi = contributions[std::size_t{f.shap_features[u]} * f.n_outputs + k];
            sum += phi;
            size += std::fabs(phi);
        }
        const double rest = margins[k] - (base[k] + sum);
        if (!std::isfinite(rest) || rest == 0.0) continue;
        for (std::size_t u = 0; u < f.shap_features.count; ++u) {
            double& phi = contributions[std::size_t{f.shap_features[u]} * f.n_outputs + k];
            phi += size > 0.0 ? rest * (std::fabs(phi) / size) : rest / static_cast<double>(f.shap_features.count);
        }
    }
}

}  // namespace mlrf
