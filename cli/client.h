// The connection of one CLI run to its control plane.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "cli/profile.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/status.h"

namespace postern::cli {

// What every subcommand gets: global options, and the channel once it is needed.
class Client {
 public:
  // Options before Connect().
  std::string profile_name;
  bool json = false;

  // Loads the profile and opens the channel; OK is not proof that anybody answers.
  absl::Status Connect();

  const Profile& profile() const { return profile_; }
  std::shared_ptr<grpc::Channel> channel() const { return channel_; }

  // Makes a stub: client.Stub<v1::TokenService>().
  template <typename Service>
  std::unique_ptr<typename Service::Stub> Stub() const {
    return Service::NewStub(channel_);
  }

 private:
  Profile profile_;
  std::shared_ptr<grpc::Channel> channel_;
};

// Turns a failed RPC into a status with the server's reason, hint and metadata.
absl::Status FromGrpc(const grpc::Status& status);

// Calls a unary method with the profile's deadline:
//   POSTERN_ASSIGN_OR_RETURN(auto grant, Call(*stub, &v1::TokenService::Stub::GetGrant, request));
template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> Call(Stub& stub, grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                              const Request& request) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(15));
  Response response;
  if (const grpc::Status status = (stub.*method)(&context, request, &response); !status.ok()) return FromGrpc(status);
  return response;
}

}  // namespace postern::cli
