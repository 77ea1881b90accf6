Console.WriteLine("iotgw");
