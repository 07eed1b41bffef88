#include "grouped_game.hpp"

#include <algorithm>
#include <stdexcept>

#include "shap_paths.hpp"

namespace mlrf {

GroupedGame::GroupedGame(const Forest& f, const std::uint32_t* group_of, std::size_t n_groups) : f_(f) {
    if (n_groups == 0 || n_groups > f.n_features) throw std::invalid_argument("there are more groups than features, or none");
    for (std::size_t i = 0; i < f.n_features; ++i)
        if (group_of[i] >= n_groups) throw std::invalid_argument("a feature is in no group");
    for (std::size_t g = 0; g < n_groups; ++g) features_.push_back(static_cast<std::uint32_t>(g));
    assign(group_of);
    nodes_.assign(f.shap_nodes.data, f.shap_nodes.data + f.shap_nodes.count);
    for (std::size_t c = 0; c < f.shap_chunks.count; ++c) rebuild(f.shap_chunks[c]);
}

Forest GroupedGame::game() const {
    Forest game = f_;
    game.shap_features = {features_.data(), features_.size()};
    game.shap_chunks = {chunks_.data(), chunks_.size()};
    game.shap_runs = {runs_.data(), runs_.size()};
    game.shap_nodes = {nodes_.data(), nodes_.size()};
    return game;
}

Shares GroupedGame::shares() const {
    Shares shares;
    shares.n_features = features_.size();
    shares.listed = features_;
    shares.first = features_;
    shares.first.push_back(static_cast<std::uint32_t>(features_.size()));
    return shares;
}

// Find the group of each player of the file: a feature, or a combination of categories.
void GroupedGame::assign(const std::uint32_t* group_of) {
    for (std::size_t u = 0; u < f_.shap_features.count; ++u) {
        const std::uint32_t player = f_.shap_features[u];
        if (player < f_.n_features) {
            group_of_player_.push_back(group_of[player]);
            continue;
        }
        if (player - f_.n_features >= f_.feature_groups.count) throw std::invalid_argument("an explained input belongs to no feature");
        const FeatureGroup& combined = f_.feature_groups[player - f_.n_features];
        const std::uint32_t group = group_of[f_.group_features[combined.first]];
        for (std::uint32_t m = combined.first; m < combined.first + combined.count; ++m)
            if (group_of[f_.group_features[m]] != group) throw std::invalid_argument("the features of a combination are in several groups");
        group_of_player_.push_back(group);
    }
}

void GroupedGame::rebuild(const ShapChunk& chunk) {
    const std::vector<std::uint32_t> parents = parents_of(f_, chunk);
    ShapNode* nodes = nodes_.data() + chunk.first_node;
    const std::size_t n_players = f_.shap_features.count, n_groups = features_.size();
    std::vector<std::uint32_t> groups(chunk.n_nodes), distinct(chunk.n_nodes);
    std::uint32_t most = 1;
    ShapChunk rebuilt = chunk;
    rebuilt.first_run = static_cast<std::uint32_t>(runs_.size());
    for (std::uint32_t i = 0; i < chunk.n_nodes; ++i) {
        ShapNode& node = nodes[i];
        groups[i] = group_of_player_[node.sum % n_players];
        node.sum = static_cast<std::uint32_t>(node.sum / n_players * n_groups + groups[i]);
        std::uint32_t edge = parents[i];
        while (edge != kNoEarlier && groups[edge / 2] != groups[i]) edge = parents[edge / 2];
        node.earlier = edge;
        node.earlier_share = 1.0;
        if (edge != kNoEarlier) {
            const ShapNode& above = nodes[edge / 2];
            node.earlier_share = above.earlier_share * (edge % 2 == 0 ? above.share : 1.0 - above.share);
        }
        distinct[i] = (edge == kNoEarlier ? 1 : 0) + (parents[i] == kNoEarlier ? 0 : distinct[parents[i] / 2]);
        most = std::max(most, distinct[i]);
        const std::uint32_t seen = edge == kNoEarlier ? 0 : 1;
        if (i == 0 || runs_.back().seen != seen) runs_.push_back({0, seen});
        runs_.back().end = i + 1;
    }
    rebuilt.n_runs = static_cast<std::uint32_t>(runs_.size()) - rebuilt.first_run;
    rebuilt.n_quadrature = std::min(chunk.n_quadrature, (most + 1) / 2);
    chunks_.push_back(rebuilt);
}

}  // namespace mlrf
