using EdgeFarm.Bench.Onnx;

return args switch
{
    ["cost", var model, var calibration, .. var rest] => Costs.Run(model, calibration, rest),
    ["peak", var model, var calibration, var pass, .. var parameters] => Costs.Peak(model, calibration, pass, parameters),
    ["table", .. var models] => Table.Run(models),
    _ => Usage(),
};

static int Usage()
{
    Console.Error.WriteLine("""
        usage: EdgeFarm.Bench.Onnx cost MODEL.onnx CALIBRATION.npz [ROUNDS [SAMPLES]]
               EdgeFarm.Bench.Onnx peak MODEL.onnx CALIBRATION.npz PASS [KEY=VALUE]...
               EdgeFarm.Bench.Onnx table NAME=MODEL.onnx[,CALIBRATION.npz[,TEST.npz[,LABELS]]][;INPUT=1,3,48,320]...
        """);
    return 2;
}
