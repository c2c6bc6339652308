// Generated from sqlite/migrations at build time.
#pragma once

#include <vector>

#include "controlplane/store/engine.h"

namespace postern::store {
const std::vector<Migration>& SqliteMigrations();
}  // namespace postern::store
