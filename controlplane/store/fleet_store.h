// The fleet's store on SQLite.
#pragma once

#include <memory>

#include "controlplane/fleet/fleet_store.h"
#include "controlplane/store/database.h"

namespace postern::store {

// `database` is not owned and outlives the store.
std::unique_ptr<fleet::FleetStore> NewSqlFleetStore(Database* database);

}  // namespace postern::store
