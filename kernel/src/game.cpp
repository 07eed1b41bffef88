#include "game.hpp"

#include <map>
#include <stdexcept>
#include <utility>

namespace mlrf {
namespace {

// In a function, because games register themselves before any other static object is sure to exist.
std::map<std::string, MakeGame>& registered() {
    static std::map<std::string, MakeGame> games;
    return games;
}

}  // namespace

RegisteredGame::RegisteredGame(const char* name, MakeGame make) { registered().emplace(name, make); }

std::unique_ptr<const Game> make_game(const std::string& name, GameInputs inputs) {
    const auto found = registered().find(name);
    if (found == registered().end()) throw std::invalid_argument("the kernel has no game of the name " + name);
    return found->second(std::move(inputs));
}

}  // namespace mlrf
