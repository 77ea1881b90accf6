return await IotTcpGateway.Cli.CommandLine.RunAsync(args).ConfigureAwait(false);
