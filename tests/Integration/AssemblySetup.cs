// Every test has a broker and a gateway of its own; two cores serve one of them at a time best.
[assembly: Xunit.v3.Parallelization(Mode = Xunit.Sdk.ParallelMode.None)]
