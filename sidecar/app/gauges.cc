#include "sidecar/app/gauges.h"

#include <cstdlib>

namespace postern::sidecar_app {

int PortOf(const std::vector<std::string>& listen) {
  if (listen.empty()) return 0;
  const size_t colon = listen[0].rfind(':');
  return colon == std::string::npos ? 0 : std::atoi(listen[0].c_str() + colon + 1);
}

Gauges::Gauges(obs::Metrics& metrics, const spool::Spool& spool, const sidecar::Uplink& uplink)
    : spool_(spool),
      uplink_(uplink),
      sessions_(metrics.NewGauge("postern_sidecar_sessions", "Live sessions.")),
      connected_(metrics.NewGauge("postern_sidecar_connected", "1 while the control plane answers.")),
      policy_revision_(metrics.NewGauge("postern_sidecar_policy_revision", "Policy revision in force.")),
      spool_bytes_(metrics.NewGauge("postern_sidecar_spool_bytes", "Bytes in the audit spool.")),
      spool_behind_(metrics.NewGauge("postern_sidecar_spool_unacknowledged_records",
                                     "Audit records that the control plane does not have yet.")),
      spool_refused_(metrics.NewGauge("postern_sidecar_spool_refused_records",
                                      "Gates that the audit spool has refused since the start.")) {}

void Gauges::Update(const session::Gateway& gateway) {
  const auto state = uplink_.state();
  const spool::Stats stats = spool_.stats();
  sessions_.Set(static_cast<double>(gateway.sessions()));
  connected_.Set(uplink_.connected() ? 1 : 0);
  policy_revision_.Set(state == nullptr ? 0 : static_cast<double>(state->policy_revision));
  spool_bytes_.Set(static_cast<double>(stats.bytes));
  spool_behind_.Set(static_cast<double>(stats.appended - stats.acknowledged));
  spool_refused_.Set(static_cast<double>(stats.refused));
}

}  // namespace postern::sidecar_app
