// What the daemon measures of itself.
#pragma once

#include <string>
#include <vector>

#include "common/obs/metrics.h"
#include "sidecar/session/gateway.h"
#include "sidecar/spool/spool.h"
#include "sidecar/uplink/uplink.h"

namespace postern::sidecar_app {

// Port of the first "host:port" of `listen`; 0 if there is none.
int PortOf(const std::vector<std::string>& listen);

class Gauges {
 public:
  // Nothing is owned.
  Gauges(obs::Metrics& metrics, const spool::Spool& spool, const sidecar::Uplink& uplink);
  void Update(const session::Gateway& gateway);

 private:
  const spool::Spool& spool_;
  const sidecar::Uplink& uplink_;
  obs::Gauge& sessions_;
  obs::Gauge& connected_;
  obs::Gauge& policy_revision_;
  obs::Gauge& spool_bytes_;
  obs::Gauge& spool_behind_;
  obs::Gauge& spool_refused_;
};

}  // namespace postern::sidecar_app
