# Stock TensorFlow Serving with the same models and settings. Build it in the repository's root:
#   docker build -f serving/deploy/tensorflow_serving.Dockerfile -t radkit-tensorflow-serving:0.1.0 .
FROM tensorflow/serving:2.20.0

COPY serving/deploy/models.config serving/deploy/batching_parameters.txt serving/deploy/monitoring.config /etc/radkit/

USER 10001
EXPOSE 8500 8501
ENTRYPOINT ["tensorflow_model_server"]
CMD ["--port=8500", "--rest_api_port=8501", "--model_config_file=/etc/radkit/models.config", "--model_config_file_poll_wait_seconds=60", "--monitoring_config_file=/etc/radkit/monitoring.config"]
