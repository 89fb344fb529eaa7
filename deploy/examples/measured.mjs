// What an example app was measured with: its environment from the compose file
// that the agent measured and shows.  An environment that the host sets would
// be the host's; this one is in the compose hash.
export const measured = info =>
  JSON.parse(JSON.parse(info.tcb_info.app_compose).docker_compose_file)
    .services.app.environment
